// Checks that count: each prints what it claims, and a program's exit code is whether all held.
#pragma once

#include <cstdio>
#include <string>

class Checks {
 public:
  /// Notes a claim; a failed one also says what was there instead.
  bool that(bool holds, const std::string& claim, const std::string& instead = "") {
    ++done_;
    failed_ += !holds;
    std::printf("%s %s%s%s\n", holds ? "ok     " : "FAILED ", claim.c_str(),
                holds || instead.empty() ? "" : ": ", holds ? "" : instead.c_str());
    std::fflush(stdout);
    return holds;
  }

  /// Claims that a text holds another.
  bool says(const std::string& text, const std::string& part) {
    return that(text.find(part) != std::string::npos, "says \"" + part + "\"",
                "it says \"" + text + "\"");
  }

  int done() const { return done_; }

  /// The program's exit code.
  int finish() const {
    std::printf("%d checks, %d failed\n", done_, failed_);
    return failed_ || !done_ ? 1 : 0;
  }

 private:
  int done_ = 0;
  int failed_ = 0;
};
