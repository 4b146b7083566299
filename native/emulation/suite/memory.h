// Device memory of the suite: the host's under the emulation, a GPU's in device_test. Guard bytes
// on both sides, 0xff: what is read from them is NaN or -1, and what is written to them is found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cumo::test {

class Buffer {
 public:
  // `bytes` of 0xff.
  explicit Buffer(size_t bytes);
  // A copy of `values`.
  template <class T>
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size() * sizeof(T)) {
    write(values.data());
  }
  Buffer(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  void* data() const { return data_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }
  template <class T>
  std::vector<T> read() const {
    std::vector<T> values(bytes_ / sizeof(T));
    read_bytes(values.data());
    return values;
  }
  // Everything back to 0xff.
  void clear();
  // False when something was written outside.
  bool guards_intact() const;

 private:
  void write(const void* from);
  void read_bytes(void* to) const;

  unsigned char* base_ = nullptr;
  unsigned char* data_ = nullptr;
  size_t bytes_ = 0;
};

// Waits for what was launched; false, with a line on stderr, when it failed.
bool finish_device();

}  // namespace cumo::test
