// The tests of registry_test, by what they look at.
#pragma once

#include "case_file.h"
#include "check.h"
#include "registry.h"
#include "shared_cases.h"

#include <NvInferRuntime.h>

#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

using Plugin = std::unique_ptr<nvinfer1::IPluginV3>;

/// What a test needs: where to say what held, the registry with the plugin, its log, and layers.
struct Test {
  Checks& check;
  Registry& registry;
  Messages& messages;
  std::vector<MoeCase> cases;
  std::vector<SharedCase> shared;

  Plugin make(Fields fields,
              nvinfer1::TensorRTPhase phase = nvinfer1::TensorRTPhase::kBUILD) const {
    return Plugin(registry.creator().createPlugin("moe", fields.collection(), phase));
  }

  /// A layer of 4 experts, 2 per token, biased, 64 channels everywhere: 19 inputs.
  const MoeCase& connector() const {
    for (const auto& layer : cases) {
      if (layer.name == "mistral-moe.connector.wide") return layer;
    }
    throw std::runtime_error("there is no case mistral-moe.connector.wide");
  }
};

template <class T>
T& capability(nvinfer1::IPluginV3& plugin, nvinfer1::PluginCapabilityType type) {
  return *static_cast<T*>(plugin.getCapabilityInterface(type));
}

// Attributes: fields_tests.cpp.
void makes_plugins(const Test& test);
void refuses_devices_that_cannot_run_it(const Test& test);
void refuses_other_layouts(const Test& test);
void refuses_bad_attributes(const Test& test);
void reads_random_fields(const Test& test);
void survives_finders(const Test& test);

// Descriptions of tensors: tensors_tests.cpp.
void refuses_wrong_tensors(const Test& test);
void refuses_any_changed_tensor(const Test& test);
void supports_linear_halves(const Test& test);

// Numbers: compute_tests.cpp.
void computes_golden_layers(const Test& test);
void computes_shared_cases(const Test& test);
void one_workspace_does_for_fewer_rows(const Test& test);
void reports_kernel_faults(const Test& test);

// Rows into caches: rows_tests.cpp.
void writes_rows_into_caches(const Test& test, const char* library);
