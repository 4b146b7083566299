// The grouped product's kernels for bf16; a file of its own so that it compiles beside f16's.
#include "grouped.cuh"

namespace cumo {

cudaError_t launch_grouped_bf16(const GroupedLaunch& how, const GroupedArgs& args,
                                const LayerPointers& layer) {
  return launch_any_tile<__nv_bfloat16>(how, args, layer);
}

}  // namespace cumo
