#include "case_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace {

template <class T>
std::vector<T> read_array(std::istream& file, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  file.read(reinterpret_cast<char*>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof(T)));
  return values;
}

MoeCase read_case(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string header;
  std::getline(file, header);
  MoeCase layer;
  layer.name = path.stem().string();
  std::istringstream(header) >> layer.activation >> layer.gated >> layer.biased >>
      layer.num_experts >> layer.num_experts_per_tok >> layer.tokens >> layer.in >> layer.hidden >>
      layer.out >> layer.limit;
  layer.x = read_array<float>(file, layer.tokens * layer.in);
  layer.weights = read_array<float>(file, layer.tokens * layer.num_experts_per_tok);
  layer.experts = read_array<int32_t>(file, layer.tokens * layer.num_experts_per_tok);
  for (size_t i = 0; i < layer.num_experts * layer.tensors_per_expert(); ++i) {
    int64_t count = 1;
    for (auto size : layer.tensor_dims(i)) count *= size;
    layer.expert_tensors.push_back(read_array<float>(file, count));
  }
  layer.y = read_array<float>(file, layer.tokens * layer.out);
  if (!file || file.peek() != std::ifstream::traits_type::eof()) {
    throw std::runtime_error(path.string() + ": not as long as its first line says");
  }
  return layer;
}

}  // namespace

std::vector<int64_t> MoeCase::tensor_dims(size_t index) const {
  const auto within = index % tensors_per_expert();
  const auto last = within / (1u + biased) == 1u + gated;
  const auto rows = last ? hidden : in, columns = last ? out : hidden;
  return within % (1u + biased) ? std::vector<int64_t>{columns}
                                : std::vector<int64_t>{rows, columns};
}

std::vector<MoeCase> read_cases(const std::string& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".moe") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  if (paths.empty()) throw std::runtime_error(folder + ": no cases, run prepare_cases.py");
  std::vector<MoeCase> cases;
  for (const auto& path : paths) cases.push_back(read_case(path));
  return cases;
}
