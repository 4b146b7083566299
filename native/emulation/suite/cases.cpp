#include "cases.h"

#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>

namespace cumo::test {
namespace {

const std::map<std::string, int32_t> kBool{{"0", 0}, {"1", 1}};
const std::map<std::string, int32_t> kActivations{{"gelu", CUMO_ACTIVATION_GELU},
                                                  {"quick_gelu", CUMO_ACTIVATION_QUICK_GELU},
                                                  {"silu", CUMO_ACTIVATION_SILU}};
const std::map<std::string, int32_t> kTypes{{"f16", CUMO_DTYPE_F16}, {"bf16", CUMO_DTYPE_BF16}};
const std::map<std::string, int32_t> kRoutings{
    {"random", int32_t(Routing::random)},
    {"all_to_one", int32_t(Routing::all_to_one)},
    {"equal", int32_t(Routing::equal)},
    {"half_empty", int32_t(Routing::half_empty)},
};

// The words of one line, taken by column name.
class Line {
 public:
  Line(std::string text, std::string place) : words_(text), place_(std::move(place)) {}

  std::string word(const char* column) {
    std::string word;
    if (!(words_ >> word)) throw std::runtime_error(place_ + ": no " + column);
    return word;
  }
  int32_t number(const char* column) {
    std::string text = word(column);
    size_t used = 0;
    int32_t value = 0;
    try {
      value = std::stoi(text, &used);
    } catch (const std::exception&) {
      used = 0;
    }
    if (used != text.size()) throw std::runtime_error(place_ + ": " + column + " is " + text);
    return value;
  }
  int32_t one_of(const char* column, const std::map<std::string, int32_t>& known) {
    std::string text = word(column);
    auto found = known.find(text);
    if (found == known.end()) throw std::runtime_error(place_ + ": " + column + " is " + text);
    return found->second;
  }
  void end() {
    std::string rest;
    if (words_ >> rest) throw std::runtime_error(place_ + ": more columns: " + rest);
  }

 private:
  std::istringstream words_;
  std::string place_;
};

}  // namespace

std::vector<Case> read_cases(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  std::vector<Case> cases;
  std::string text;
  for (int number = 1; std::getline(file, text); ++number) {
    size_t start = text.find_first_not_of(" \t\r");
    if (start == std::string::npos || text[start] == '#') continue;
    Line line(text, path + ":" + std::to_string(number));
    Case one;
    one.name = line.word("name");
    one.shape.tokens = line.number("tokens");
    one.shape.in = line.number("in");
    one.shape.hidden = line.number("hidden");
    one.shape.out = line.number("out");
    one.shape.num_experts = line.number("experts");
    one.shape.num_experts_per_tok = line.number("k");
    one.shape.gated = line.one_of("gated", kBool);
    one.shape.biased = line.one_of("biased", kBool);
    one.shape.activation = line.one_of("activation", kActivations);
    one.shape.dtype = line.one_of("dtype", kTypes);
    one.routing = Routing(line.one_of("routing", kRoutings));
    line.end();
    cases.push_back(one);
  }
  if (cases.empty()) throw std::runtime_error(path + ": no cases");
  return cases;
}

}  // namespace cumo::test
