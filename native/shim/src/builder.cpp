#include "builder.h"

#include "status.h"

#include <string>

using cumo::trt::Fault;
using cumo::trt::ParseError;

cumo_trt_builder::cumo_trt_builder(cumo_trt_library& library, const cumo_trt_log* log)
    : library{library}, sink{log} {
  const cumo::trt::BuilderScope scope{*this};
  builder.reset(static_cast<nvinfer1::IBuilder*>(library.create_builder()));
  if (!builder) throw Fault{CUMO_TRT_CODE_BUILD, sink.explain("TensorRT gives no builder")};
}

cumo_trt_network::cumo_trt_network(cumo_trt_builder& builder) : builder{builder} {
  // Strongly typed is what 10.x is asked for, and all that RTX and 11 have.
  constexpr uint32_t kFLAGS =
      NV_TENSORRT_MAJOR == 10
          ? 1U << static_cast<uint32_t>(nvinfer1::NetworkDefinitionCreationFlag::kSTRONGLY_TYPED)
          : 0U;
  network.reset(builder.builder->createNetworkV2(kFLAGS));
  if (!network) throw Fault{CUMO_TRT_CODE_BUILD, builder.sink.explain("TensorRT gives no network")};
  parser.reset(static_cast<nvonnxparser::IParser*>(builder.library.create_parser(network.get())));
  if (!parser)
    throw Fault{CUMO_TRT_CODE_PARSE, builder.sink.explain("TensorRT gives no ONNX parser")};
}

namespace {

std::string text_or_empty(const char* text) { return text == nullptr ? "" : text; }

/// The parser's error. Of a node in a function it names the outermost node, which is the one in the
/// graph.
ParseError describe(const nvonnxparser::IParserError& error) {
  ParseError described;
  described.text = text_or_empty(error.desc());
  described.name = text_or_empty(error.nodeName());
  described.operator_type = text_or_empty(error.nodeOperator());
  described.index = error.node();
  return described;
}

std::string sentence(const ParseError& error) {
  std::string sentence;
  if (!error.operator_type.empty() || error.index >= 0) {
    sentence = "node " + (error.index >= 0 ? std::to_string(error.index) : "?");
    if (!error.name.empty()) sentence += " `" + error.name + "`";
    if (!error.operator_type.empty()) sentence += " (" + error.operator_type + ")";
    sentence += ": ";
  }
  return sentence + error.text;
}

}  // namespace

void cumo_trt_network::parse(const void* model, size_t model_bytes, const char* model_path) {
  if (parser->parse(model, model_bytes, model_path)) {
    // Protobuf takes bytes of nothing, and some others, for a model without anything in it.
    if (network->getNbOutputs() > 0) return;
    throw Fault{CUMO_TRT_CODE_PARSE, "TensorRT's parser refuses the model\nIt has no outputs."};
  }
  Fault fault{CUMO_TRT_CODE_PARSE, "TensorRT's parser refuses the model"};
  for (int i = 0; i < parser->getNbErrors(); ++i) {
    fault.parse_errors.push_back(describe(*parser->getError(i)));
    fault.text += "\n" + sentence(fault.parse_errors.back());
  }
  // The log repeats the parser's errors; it says more only where the parser says nothing.
  const std::string logged = builder.sink.explain(fault.text);
  if (fault.parse_errors.empty()) fault.text = logged;
  throw fault;
}

extern "C" {

cumo_trt_status* cumo_trt_builder_create(cumo_trt_library* library, const cumo_trt_log* log,
                                         cumo_trt_builder** out) {
  return cumo::trt::guarded([&] {
    cumo::trt::required(out, "out") = nullptr;
    *out = new cumo_trt_builder{cumo::trt::required(library, "library"), log};
  });
}

void cumo_trt_builder_free(cumo_trt_builder* builder) {
  if (builder == nullptr) return;
  cumo_trt_status_free(cumo::trt::guarded([&] {
    const cumo::trt::BuilderScope scope{*builder};
    builder->builder.reset();
  }));
  delete builder;
}

cumo_trt_status* cumo_trt_network_parse(cumo_trt_builder* builder, const void* model,
                                        size_t model_bytes, const char* model_path,
                                        cumo_trt_network** out) {
  return cumo::trt::guarded([&] {
    cumo::trt::required(out, "out") = nullptr;
    const auto* bytes = &cumo::trt::required(static_cast<const unsigned char*>(model), "model");
    const cumo::trt::BuilderScope scope{cumo::trt::required(builder, "builder")};
    auto network = std::make_unique<cumo_trt_network>(*builder);
    network->parse(bytes, model_bytes, model_path);
    *out = network.release();
  });
}

void cumo_trt_network_free(cumo_trt_network* network) {
  if (network == nullptr) return;
  cumo_trt_status_free(cumo::trt::guarded([&] {
    const cumo::trt::BuilderScope scope{network->builder};
    network->parser.reset();
    network->network.reset();
  }));
  delete network;
}

}  // extern "C"
