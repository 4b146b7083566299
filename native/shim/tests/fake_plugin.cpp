// A plugin library that only notes its calls: for stream_test.
#include "fake_plugin.h"

extern "C" {

FakePlugin& fake_plugin() {
  static FakePlugin state;
  return state;
}

const char* cumo_plugin_check_device(void) { return fake_plugin().device; }

const char* cumo_plugin_write_rows(const cumo_write_rows_args* args, void* stream) {
  fake_plugin().args = *args;
  fake_plugin().stream = stream;
  return fake_plugin().fails;
}
}
