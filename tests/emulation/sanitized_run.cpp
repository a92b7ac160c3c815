// sanitized_run.cpp - a program that runs the emulated kernel and the CPU kernels on arrays without a byte to spare, and
// compares the two. Compiled with AddressSanitizer and UndefinedBehaviorSanitizer. Tests only.
#include <cstdio>
#include <memory>
#include <random>

#include "conv_scan.h"
#include "conv_scan_cpu.h"
#include "variant.h"

namespace {

using V = LibraryVariant;

// Its own heap block, so that AddressSanitizer sees every step beyond its end.
template <class T>
struct Array {
  explicit Array(size_t size) : data(new T[size]), size(size) {}
  std::unique_ptr<T[]> data;
  size_t size;

  void fill(std::mt19937& random, double scale) {
    std::normal_distribution<double> normal(0, scale);
    for (size_t i = 0; i < size; ++i) data[i] = static_cast<T>(static_cast<float>(normal(random)));
  }
  template <class U>
  Array<U> as() const {
    Array<U> other(size);
    for (size_t i = 0; i < size; ++i) other.data[i] = static_cast<U>(data[i]);
    return other;
  }
};

double error(const Array<float>& found, const Array<double>& truth) {
  double difference = 0, scale = 0;
  for (size_t i = 0; i < truth.size; ++i) {
    difference = std::max(difference, std::abs(found.data[i] - truth.data[i]));
    scale = std::max(scale, std::abs(truth.data[i]));
  }
  return difference / scale;
}

template <int TILES, bool BACKWARD>
int emulate(const conv_scan::Arguments& arguments, int images) {
  return emulation::Machine::get().launch(images, V::threads, conv_scan::shared_bytes<V>(arguments.pixels, TILES), 1,
                                          [&] { conv_scan::scan_kernel<V, TILES, BACKWARD>(arguments); });
}

// Largest error of h, z, dx and dz against the CPU kernels in double; above 1 if the emulation stopped.
double run(int images, int steps, int pixels, bool reverse) {
  std::mt19937 random(7);
  const size_t map = static_cast<size_t>(images) * steps * pixels * V::channels;
  Array<float> x(map), grad(map), h(map), z(map), dx(map), dz(map), slope(1);
  Array<float> weight(static_cast<size_t>(V::channels) * V::channels * V::taps), bias(V::channels);
  x.fill(random, 1), grad.fill(random, 1), bias.fill(random, 0.05);
  weight.fill(random, 0.6 / std::sqrt(V::channels * V::taps));
  slope.data[0] = 0.25f;

  conv_scan::Arguments a{x.data.get(), weight.data.get(), bias.data.get(), slope.data.get(), nullptr, h.data.get(),
                         z.data.get(), int64_t(steps) * pixels * V::channels, pixels * V::channels, V::channels, steps,
                         pixels, reverse};
  if (emulate<2, false>(a, images) != 0) return 2;
  a.input = grad.data.get(), a.z_in = z.data.get(), a.output = dx.data.get(), a.z_out = dz.data.get();
  a.descending = !reverse;
  if (emulate<2, true>(a, images) != 0) return 2;

  const conv_scan_cpu::Geometry g{images, a.image_stride, a.step_stride, a.pixel_stride, steps, pixels, V::channels,
                                  V::taps, reverse};
  const auto x2 = x.as<double>(), weight2 = weight.as<double>(), bias2 = bias.as<double>(), grad2 = grad.as<double>();
  const auto emulated_z = z.as<double>();
  Array<double> h2(map), z2(map), dx2(map), dz2(map), dweight(weight.size), dbias(V::channels), dslope(1);
  conv_scan_cpu::forward(g, x2.data.get(), weight2.data.get(), bias2.data.get(), 0.25, h2.data.get(), z2.data.get());
  conv_scan_cpu::backward(g, grad2.data.get(), emulated_z.data.get(), weight2.data.get(), 0.25, dx2.data.get(),
                          dz2.data.get());
  conv_scan_cpu::weight_gradients(g, h2.data.get(), dx2.data.get(), z2.data.get(), dz2.data.get(), dweight.data.get(),
                                  dbias.data.get(), dslope.data.get());
  return std::max({error(h, h2), error(z, z2), error(dx, dx2), error(dz, dz2)});
}

}  // namespace

int main() {
  double worst = 0;
  for (const bool reverse : {false, true})
    for (const int pixels : {1, 16, 19}) worst = std::max(worst, run(2, 5, pixels, reverse));
  std::printf("largest relative error %.1e\n", worst);
  return worst < 1e-6 ? 0 : 1;
}
