// conv_scan.cu - launches the scan kernel of this library's variant. It includes no torch headers: with them, compiling
// would take a minute instead of seconds.
#include <cuda_runtime.h>

#include "conv_scan.h"
#include "conv_scan_launch.h"
#include "variant.h"

namespace {

template <int TILES, bool BACKWARD>
cudaError_t launch(const conv_scan::Arguments& arguments, int images, cudaStream_t stream) {
  const size_t shared = conv_scan::shared_bytes<LibraryVariant>(arguments.pixels, TILES);
  const auto kernel = conv_scan::scan_kernel<LibraryVariant, TILES, BACKWARD>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
  if (error != cudaSuccess) return error;
  kernel<<<images, LibraryVariant::threads, shared, stream>>>(arguments);
  return cudaGetLastError();
}

}  // namespace

const char* conv_scan_launch(const conv_scan::Arguments& arguments, int images, bool backward, int tiles, void* stream) {
  cudaError_t error = cudaSuccess;
  const bool known = with_tiles(tiles, [&](auto count) {
    constexpr int TILES = decltype(count)::value;
    const auto s = static_cast<cudaStream_t>(stream);
    error = backward ? launch<TILES, true>(arguments, images, s) : launch<TILES, false>(arguments, images, s);
  });
  if (!known) return "no kernel for this number of tiles";
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
