//! What turns user input into model input: images to pixels, text to ids, conversations to prompts
