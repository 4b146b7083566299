// Who gets TensorRT's messages: the sink of the thread that they come from; of threads that
// TensorRT started, the sink whose turn it is to build, or all. No TensorRT is needed but its
// headers.
#include "log.h"

#include <cstdio>
#include <string>
#include <thread>

namespace {

using cumo::trt::BuildTurn;
using cumo::trt::LogScope;
using cumo::trt::Sink;

int failures = 0;

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what);
  ++failures;
}

void error(const char* text) { cumo::trt::logger().log(nvinfer1::ILogger::Severity::kERROR, text); }

void warning(const char* text) {
  cumo::trt::logger().log(nvinfer1::ILogger::Severity::kWARNING, text);
}

/// As TensorRT's own threads do, which are of no sink.
template <class Body>
void elsewhere(Body&& body) {
  std::thread{body}.join();
}

constexpr char kPROFILE[] = "profile 0 values are not self-consistent";

void a_threads_messages_go_to_its_sink() {
  Sink mine{nullptr}, other{nullptr};
  const LogScope scope{mine};
  error("mine");
  expect(mine.explain("") == "\nmine", "the thread's sink has it");
  expect(other.explain("").empty(), "no other has");
}

void other_threads_messages_go_to_all_while_nothing_is_built() {
  Sink one{nullptr}, other{nullptr};
  elsewhere([] { error("whose?"); });
  expect(one.explain("") == "\nwhose?" && other.explain("") == "\nwhose?", "all have it");
}

void a_build_gets_its_own_messages_and_no_others() {
  Sink builder{nullptr}, other{nullptr};
  elsewhere([] {
    error("of something else");
    warning(kPROFILE);
  });
  {
    const BuildTurn turn{builder};
    expect(builder.explain("").empty(), "errors before the turn are forgotten");
    expect(builder.take_profile_warning().empty(), "a warning before the turn is forgotten");
    elsewhere([] {
      error("of the build");
      warning(kPROFILE);
    });
  }
  expect(builder.explain("") == "\nof the build", "the builder has its error");
  expect(builder.take_profile_warning() == kPROFILE, "the builder has its warning");
  expect(other.explain("") == "\nof something else", "the other has no error of the build");
  expect(other.take_profile_warning() == kPROFILE, "the other still has the first warning");
  expect(other.take_profile_warning().empty(), "and only once");
  elsewhere([] { error("later"); });
  expect(other.explain("") == "\nlater", "after the turn, messages go to all again");
}

void turns_follow_each_other() {
  Sink first{nullptr}, second{nullptr};
  int building = 0;
  const auto build = [&](Sink& sink) {
    for (int i = 0; i < 100; ++i) {
      const BuildTurn turn{sink};
      expect(++building == 1, "one builds at a time");
      --building;
    }
  };
  std::thread other{[&] { build(second); }};
  build(first);
  other.join();
}

}  // namespace

int main() {
  a_threads_messages_go_to_its_sink();
  other_threads_messages_go_to_all_while_nothing_is_built();
  a_build_gets_its_own_messages_and_no_others();
  turns_follow_each_other();
  if (failures == 0) std::puts("passed");
  return failures == 0 ? 0 : 1;
}
