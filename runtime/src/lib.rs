//! Runs CuMo bundles: vision, connector and LLM graphs, and the decoding loop
