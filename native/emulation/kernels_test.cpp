// The kernels under the emulation: every case of cases.txt and of suite/rows.cpp, in several
// schedules, against plain loops, those of cases.txt in double precision.
//
//   kernels_test <cases.txt> [--quick] [--only NAME] [--expect-failure]
//
// --quick: one schedule and tile a case, for the sanitizers. --only: cases whose name holds NAME.
// --expect-failure: succeeds when the suite finds something (for builds with a planted fault).
// Exit status 0: all right; 1: something is wrong; 2: wrong usage; 3: the emulation found a fault.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>

#include "emulation.h"
#include "suite/check.h"
#include "suite/rows.h"

namespace {

using namespace cumo;
using namespace cumo::test;

struct Order {
  const char* name;
  emulation::Schedule schedule;
  unsigned seed;
};
constexpr Order kOrders[] = {
    {"run ahead", emulation::Schedule::run_ahead, 0},
    {"reversed", emulation::Schedule::reversed, 0},
    {"shuffled 7", emulation::Schedule::shuffled, 7},
    {"in step", emulation::Schedule::in_step, 0},
};
constexpr size_t kOrderCount = sizeof(kOrders) / sizeof(kOrders[0]);

struct Options {
  std::string cases;
  std::string only;
  bool quick = false;
  bool expect_failure = false;
};

class Suite {
 public:
  explicit Suite(const Options& options) : options_(options) {}

  // Number of failures.
  int run() {
    for (const RowsCase& one : rows_cases()) {
      if (one.name.find(options_.only) == std::string::npos) continue;
      if (options_.expect_failure && failures_ > 0) break;  // one is enough
      run_rows(one);
    }
    size_t index = 0;
    for (const Case& one : read_cases(options_.cases)) {
      ++index;
      if (one.name.find(options_.only) == std::string::npos) continue;
      if (options_.expect_failure && failures_ > 0) break;  // one is enough
      run_case(one, index);
    }
    auto ran = emulation::statistics();
    std::printf("%d checks, %d failed; %llu launches, %llu blocks\n", checks_, failures_,
                ran.launches, ran.blocks);
    return failures_;
  }

 private:
  void run_rows(const RowsCase& one) {
    for (const Order& order : kOrders) {
      use(order);
      report(one.name, order, "write rows", check_rows(one));
    }
  }

  void run_case(const Case& one, size_t index) {
    auto start = std::chrono::steady_clock::now();
    Bench bench(one);
    for (size_t o = 0; o < kOrderCount; ++o) {
      if (options_.quick && o != index % kOrderCount) continue;
      use(kOrders[o]);
      int32_t types[] = {CUMO_DTYPE_F32, CUMO_DTYPE_F16, CUMO_DTYPE_BF16};
      report(one.name, kOrders[o], "route", bench.check_route(types[(index + o) % 3]));
      report(one.name, kOrders[o], "permute", bench.check_permute());
    }
    forward(one, bench, 0, index, !options_.quick);
    for (int32_t tile = -1; tile <= cumo_moe_tile_count() && !options_.quick; ++tile)
      if (tile != 0 && tile_runs(one.shape, tile)) forward(one, bench, tile, index, false);
    std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::printf("%-24s %.2f s\n", one.name.c_str(), took.count());
    std::fflush(stdout);
  }

  // In all schedules, with equal bits; or in the one whose turn it is.
  void forward(const Case& one, const Bench& bench, int32_t tile, size_t index, bool all) {
    std::vector<uint16_t> first;
    for (size_t o = 0; o < kOrderCount; ++o) {
      if (!all && o != (index + size_t(tile + 1)) % kOrderCount) continue;
      use(kOrders[o]);
      std::vector<uint16_t> bits;
      std::string wrong = bench.check_forward(tile, &bits);
      if (wrong.empty() && !first.empty() && bits != first)
        wrong = "other bits than in another schedule";
      if (first.empty()) first = bits;
      report(one.name, kOrders[o], "forward", wrong, tile);
    }
  }

  void use(const Order& order) { emulation::set_schedule(order.schedule, order.seed); }

  void report(const std::string& name, const Order& order, const char* what,
              const std::string& wrong, int32_t tile = 0) {
    ++checks_;
    if (wrong.empty()) return;
    ++failures_;
    std::printf("FAILED %s, %s, tile %d, %s: %s\n", name.c_str(), what, int(tile), order.name,
                wrong.c_str());
  }

  const Options& options_;
  int checks_ = 0, failures_ = 0;
};

int run_suite(const Options& options) {
  try {
    return Suite(options).run() == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}

// Runs the suite in a child: a fault may well end the process.
int expect_failure(const Options& options) {
  pid_t child = fork();
  if (child == 0) {
    int status = run_suite(options);
    std::fflush(stdout);
    _exit(status);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return 2;
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  bool found = code == 1 || code == emulation::kFaultExit;
  std::printf("the planted fault was %s (exit status %d)\n", found ? "found" : "NOT found", code);
  return found ? 0 : 1;
}

bool parse(int count, char** words, Options& options) {
  if (count < 2) return false;
  options.cases = words[1];
  for (int i = 2; i < count; ++i) {
    std::string word = words[i];
    if (word == "--quick")
      options.quick = true;
    else if (word == "--expect-failure")
      options.expect_failure = true;
    else if (word == "--only" && i + 1 < count)
      options.only = words[++i];
    else
      return false;
  }
  return true;
}

}  // namespace

int main(int count, char** words) {
  Options options;
  if (!parse(count, words, options)) {
    std::fprintf(stderr, "usage: kernels_test CASES [--quick] [--only NAME] [--expect-failure]\n");
    return 2;
  }
  return options.expect_failure ? expect_failure(options) : run_suite(options);
}
