// conv_scan_cpu.h - the slice-convolution scan on CPUs, for float and double. Formulas: conv_scan.h.
#pragma once
#include <cstdint>

namespace conv_scan_cpu {

// Where the elements of a map lie, in elements; the channels are contiguous.
struct Geometry {
  int64_t images, image_stride, step_stride, pixel_stride;
  int steps, pixels, channels, taps;
  bool reverse;  // the forward scan walks from the last slice to the first

  int64_t slice(int64_t image, int i) const { return image * image_stride + i * step_stride; }
};

constexpr int max_channels = 128;

// h and, unless null, z from x; weight is (channels, channels, taps).
template <class T>
void forward(const Geometry& geometry, const T* x, const T* weight, const T* bias, T slope, T* h, T* z);

// Gradients of x and of z from the gradient of h.
template <class T>
void backward(const Geometry& geometry, const T* grad, const T* z, const T* weight, T slope, T* dx, T* dz);

// Gradients of weight, bias and slope from what the two scans left, all overwritten.
template <class T>
void weight_gradients(const Geometry& geometry, const T* h, const T* dx, const T* z, const T* dz, T* dweight, T* dbias,
                      T* dslope);

}  // namespace conv_scan_cpu
