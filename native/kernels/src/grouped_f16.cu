// The grouped product's kernels for f16; a file of its own so that it compiles beside bf16's.
#include "grouped.cuh"

namespace cumo {

cudaError_t launch_grouped_f16(const GroupedLaunch& how, const GroupedArgs& args,
                               const LayerPointers& layer) {
  return launch_any_tile<__half>(how, args, layer);
}

}  // namespace cumo
