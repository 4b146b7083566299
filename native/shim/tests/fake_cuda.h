// What the driver of fake_cuda.cpp has counted, and what is to fail in it.
#pragma once

struct FakeCuda {
  int pushed;         // contexts that were made current and are still
  int graphs;         // recordings that are not destroyed
  int execs;          // graphs that are not destroyed
  bool is_capturing;  // the stream
  const char* fails;  // "end", "instantiate" or null: nothing
};

extern "C" FakeCuda* fake_cuda();
