// conv_scan_cpu.h - the slice-convolution scan on CPUs, for float and double. Formulas: conv_scan.h.
#pragma once
#include <cstdint>

namespace conv_scan_cpu {

// Strides and sizes of a map, in elements; the channels are contiguous.
struct Geometry {
  int64_t images, image_stride, step_stride, pixel_stride;
  int steps, pixels, channels, taps;
  bool reverse;  // the forward scan walks from the last slice to the first

  int64_t slice(int64_t image, int i) const { return image * image_stride + i * step_stride; }
};

constexpr int max_channels = 128;

// Computes h from x, and z unless it is null; weight is (channels, channels, taps).
template <class T>
void forward(const Geometry& geometry, const T* x, const T* weight, const T* bias, T slope, T* h, T* z);

// Computes the gradients of x and of z from the gradient of h.
template <class T>
void backward(const Geometry& geometry, const T* grad, const T* z, const T* weight, T slope, T* dx, T* dz);

// Computes the gradients of weight, bias and slope from the results of the two scans; overwrites all three.
template <class T>
void weight_gradients(const Geometry& geometry, const T* h, const T* dx, const T* z, const T* dz, T* dweight, T* dbias,
                      T* dslope);

}  // namespace conv_scan_cpu
