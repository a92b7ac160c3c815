// arguments.h - the arguments of a scan; shared by the kernel, its launcher and the binding.
#pragma once
#include <cstdint>

namespace conv_scan {

struct Arguments {
  const float* input;   // forward: x; backward: the gradient of h
  const float* weight;  // (channels, channels, taps)
  const float* bias;    // (channels); forward only
  const float* slope;   // one number
  const float* z_in;    // backward only: z of the forward run
  float* output;        // forward: h; backward: the gradient of x
  float* z_out;         // forward: z, or null; backward: the gradient of z
  int64_t image_stride;           // strides in elements; the channels are contiguous
  int step_stride, pixel_stride;  // an image has less than 2^31 elements
  int steps, pixels;
  bool descending;  // walk from the last slice to the first
};

}  // namespace conv_scan
