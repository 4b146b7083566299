// What the plugin of fake_plugin.cpp was called with, and what it is to say.
#pragma once

#include "cumo_plugin.h"

struct FakePlugin {
  const char* device;  // what it says of the device
  const char* fails;   // and of a write
  cumo_write_rows_args args;
  void* stream;
};

extern "C" FakePlugin& fake_plugin();
