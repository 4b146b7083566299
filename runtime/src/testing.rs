//! What the unit tests share: a small model and a backend that needs no library.
