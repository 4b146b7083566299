// The list of cases that all implementations of the operator share, native/emulation/cases.txt, for
// the plugin.
#pragma once

#include "case_file.h"

#include <NvInferRuntime.h>

#include <string>
#include <vector>

struct SharedCase {
  MoeCase layer;  ///< y from the plain loops in double precision of native/emulation/suite
  nvinfer1::DataType type;
};

/// All cases of the list. `limit` is each layer's. Throws std::runtime_error for a bad list.
std::vector<SharedCase> read_shared_cases(const std::string& path, float limit);
