#include "blob.h"

extern "C" {

const void* cumo_trt_blob_data(const cumo_trt_blob* blob) {
  if (blob == nullptr) return nullptr;
  return blob->memory ? blob->memory->data() : blob->text.data();
}

size_t cumo_trt_blob_bytes(const cumo_trt_blob* blob) {
  if (blob == nullptr) return 0;
  return blob->memory ? blob->memory->size() : blob->text.size();
}

void cumo_trt_blob_free(cumo_trt_blob* blob) { delete blob; }

}  // extern "C"
