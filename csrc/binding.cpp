// binding.cpp - registers the kernels of one library with the dispatcher, under its own namespace HSISR_LIBRARY.
// Schemas for users, shapes and gradients are in hsisr/ops/scan.py; here tensors become pointers and strides.
// Include only light headers: torch/extension.h or ATen/ATen.h would multiply the build time.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <tuple>

#if defined(HSISR_WITH_CUDA)
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "conv_scan_launch.h"
#else
#include "conv_scan_cpu.h"
#endif

namespace {

// Sizes of a channels-last map along a scan over rows (dim 2) or columns (dim 3). Strides are computed here, because
// torch does not define the stride of a dimension of size 1.
struct Map {
  int64_t images, channels, image_stride, step_stride, pixel_stride, steps, pixels;

  Map(const at::Tensor& x, int64_t dim) {
    TORCH_CHECK(x.dim() == 4 && (dim == 2 || dim == 3), "a scan needs (N, C, H, W) and dim 2 or 3");
    TORCH_CHECK(x.is_contiguous(at::MemoryFormat::ChannelsLast), "a scan needs a channels-last map");
    images = x.size(0), channels = x.size(1);
    const int64_t height = x.size(2), width = x.size(3), row = width * channels;
    image_stride = height * row;
    TORCH_CHECK(image_stride < int64_t(1) << 31, "an image of 2^31 values or more");
    steps = dim == 2 ? height : width, pixels = dim == 2 ? width : height;
    step_stride = dim == 2 ? row : channels, pixel_stride = dim == 2 ? channels : row;
  }
};

// Both memory layouts of the weight, (C, C, 1, k) and (C, C, k, 1), are (C, C, k) when contiguous.
at::Tensor contiguous_weight(const at::Tensor& weight) { return weight.contiguous(at::MemoryFormat::Contiguous); }

at::Tensor like(const at::Tensor& x) { return at::empty_like(x, at::MemoryFormat::ChannelsLast); }

#if defined(HSISR_WITH_CUDA)

std::tuple<at::Tensor, at::Tensor> launch(const at::Tensor& x, const at::Tensor& z, const at::Tensor& weight,
                                          const at::Tensor& bias, const at::Tensor& slope, int64_t dim, bool reverse,
                                          bool backward, bool second_output, int64_t tiles) {
  const c10::cuda::CUDAGuard guard(x.device());
  const Map map(x, dim);
  const at::Tensor w = contiguous_weight(weight), b = bias.contiguous();
  at::Tensor out = like(x), out2 = second_output ? like(x) : at::empty({0}, x.options());
  if (x.numel() == 0) return {out, out2};
  conv_scan::Arguments arguments{};
  arguments.input = x.const_data_ptr<float>();
  arguments.weight = w.const_data_ptr<float>();
  arguments.bias = b.const_data_ptr<float>();
  arguments.slope = slope.const_data_ptr<float>();
  arguments.z_in = backward ? z.const_data_ptr<float>() : nullptr;
  arguments.output = out.mutable_data_ptr<float>();
  arguments.z_out = second_output ? out2.mutable_data_ptr<float>() : nullptr;
  arguments.image_stride = map.image_stride;
  arguments.step_stride = static_cast<int>(map.step_stride);
  arguments.pixel_stride = static_cast<int>(map.pixel_stride);
  arguments.steps = static_cast<int>(map.steps);
  arguments.pixels = static_cast<int>(map.pixels);
  arguments.descending = reverse != backward;
  const char* error = conv_scan_launch(arguments, static_cast<int>(map.images), backward, static_cast<int>(tiles),
                                       c10::cuda::getCurrentCUDAStream().stream());
  TORCH_CHECK(error == nullptr, "the scan kernel did not start: ", error);
  return {out, out2};
}

std::tuple<at::Tensor, at::Tensor> forward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                           const at::Tensor& slope, int64_t dim, bool reverse, bool save_z,
                                           int64_t tiles) {
  return launch(x, x, weight, bias, slope, dim, reverse, false, save_z, tiles);
}

std::tuple<at::Tensor, at::Tensor> backward(const at::Tensor& grad, const at::Tensor& z, const at::Tensor& weight,
                                            const at::Tensor& slope, int64_t dim, bool reverse, int64_t tiles) {
  return launch(grad, z, weight, weight, slope, dim, reverse, true, true, tiles);
}

#define HSISR_TILES ", int tiles"
#define HSISR_DEVICE CUDA

#else

conv_scan_cpu::Geometry geometry(const at::Tensor& x, const at::Tensor& weight, int64_t dim, bool reverse) {
  const Map map(x, dim);
  TORCH_CHECK(map.channels <= conv_scan_cpu::max_channels, "more channels than the CPU scan takes");
  const int64_t taps = weight.size(2) * weight.size(3);
  return {map.images, map.image_stride, map.step_stride, map.pixel_stride, static_cast<int>(map.steps),
          static_cast<int>(map.pixels), static_cast<int>(map.channels), static_cast<int>(taps), reverse};
}

template <class F>
void for_type(const at::Tensor& x, F&& f) {
  TORCH_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble, "a scan needs float or double");
  if (x.scalar_type() == at::kFloat) f(float());
  else f(double());
}

std::tuple<at::Tensor, at::Tensor> forward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                           const at::Tensor& slope, int64_t dim, bool reverse, bool save_z) {
  const auto g = geometry(x, weight, dim, reverse);
  const at::Tensor w = contiguous_weight(weight), b = bias.contiguous();
  at::Tensor h = like(x), z = save_z ? like(x) : at::empty({0}, x.options());
  for_type(x, [&](auto type) {
    using T = decltype(type);
    conv_scan_cpu::forward<T>(g, x.const_data_ptr<T>(), w.const_data_ptr<T>(), b.const_data_ptr<T>(),
                              *slope.const_data_ptr<T>(), h.mutable_data_ptr<T>(),
                              save_z ? z.mutable_data_ptr<T>() : nullptr);
  });
  return {h, z};
}

std::tuple<at::Tensor, at::Tensor> backward(const at::Tensor& grad, const at::Tensor& z, const at::Tensor& weight,
                                            const at::Tensor& slope, int64_t dim, bool reverse) {
  const auto g = geometry(grad, weight, dim, reverse);
  const at::Tensor w = contiguous_weight(weight);
  at::Tensor dx = like(grad), dz = like(grad);
  for_type(grad, [&](auto type) {
    using T = decltype(type);
    conv_scan_cpu::backward<T>(g, grad.const_data_ptr<T>(), z.const_data_ptr<T>(), w.const_data_ptr<T>(),
                               *slope.const_data_ptr<T>(), dx.mutable_data_ptr<T>(), dz.mutable_data_ptr<T>());
  });
  return {dx, dz};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> weight_gradients(const at::Tensor& h, const at::Tensor& dx,
                                                                const at::Tensor& z, const at::Tensor& dz,
                                                                const at::Tensor& weight, int64_t dim, bool reverse) {
  const auto g = geometry(h, weight, dim, reverse);
  at::Tensor dweight = at::empty_like(weight, at::MemoryFormat::Contiguous);
  at::Tensor dbias = at::empty({weight.size(0)}, weight.options()), dslope = at::empty({1}, weight.options());
  for_type(h, [&](auto type) {
    using T = decltype(type);
    conv_scan_cpu::weight_gradients<T>(g, h.const_data_ptr<T>(), dx.const_data_ptr<T>(), z.const_data_ptr<T>(),
                                       dz.const_data_ptr<T>(), dweight.mutable_data_ptr<T>(),
                                       dbias.mutable_data_ptr<T>(), dslope.mutable_data_ptr<T>());
  });
  return {dweight, dbias, dslope};
}

#define HSISR_TILES ""
#define HSISR_DEVICE CPU

#endif

// one more level of macros: the value of HSISR_LIBRARY must replace it before it becomes a name
#define HSISR_REGISTER(library) TORCH_LIBRARY(library, m)
#define HSISR_IMPLEMENT(library, device) TORCH_LIBRARY_IMPL(library, device, m)

HSISR_REGISTER(HSISR_LIBRARY) {
  m.def("forward(Tensor x, Tensor weight, Tensor bias, Tensor slope, int dim, bool reverse, bool save_z" HSISR_TILES
        ") -> (Tensor, Tensor)");
  m.def("backward(Tensor grad, Tensor z, Tensor weight, Tensor slope, int dim, bool reverse" HSISR_TILES
        ") -> (Tensor, Tensor)");
#if !defined(HSISR_WITH_CUDA)
  m.def("weight_gradients(Tensor h, Tensor dx, Tensor z, Tensor dz, Tensor weight, int dim, bool reverse) -> "
        "(Tensor, Tensor, Tensor)");
#endif
}

HSISR_IMPLEMENT(HSISR_LIBRARY, HSISR_DEVICE) {
  m.impl("forward", &forward);
  m.impl("backward", &backward);
#if !defined(HSISR_WITH_CUDA)
  m.impl("weight_gradients", &weight_gradients);
#endif
}

}  // namespace
