// conv_scan_cpu.cpp - the scan with GCC's vector types; -march=native makes them as wide as the processor allows.
//
// The inner kernel keeps PIXELS x 2 vectors of sums in registers. For each pair of weight vectors, it broadcasts one
// state value of each pixel. A scratch row with a zero halo holds the last slice, so no tap has to test for the border.
// The order of a sum never depends on the number of threads, so the results do not either.
#include "conv_scan_cpu.h"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

namespace conv_scan_cpu {
namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
constexpr int tile_pixels = 12;  // 24 of 32 registers hold sums
constexpr int gradient_inputs = 8;
#elif defined(__AVX__)
constexpr int vector_bytes = 32;
constexpr int tile_pixels = 6;  // 12 of 16
constexpr int gradient_inputs = 4;
#else
constexpr int vector_bytes = 16;
constexpr int tile_pixels = 6;
constexpr int gradient_inputs = 4;
#endif

template <class T>
constexpr int width = vector_bytes / sizeof(T);

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(vector_bytes)));
};
template <class T>
using Vector = typename VectorOf<T>::type;

template <class T>
Vector<T> load(const T* from, int count = width<T>) {
  Vector<T> v = {};
  if (count >= width<T>) std::memcpy(&v, from, sizeof(v));
  else if (count > 0) std::memcpy(&v, from, count * sizeof(T));
  return v;
}

template <class T>
void store(T* to, const Vector<T>& v, int count = width<T>) {
  if (count >= width<T>) std::memcpy(to, &v, sizeof(v));
  else if (count > 0) std::memcpy(to, &v, count * sizeof(T));
}

constexpr int divide_up(int a, int b) { return (a + b - 1) / b; }

// Cache-line aligned, uninitialised.
template <class T>
class Buffer {
 public:
  explicit Buffer(size_t size) : data_(static_cast<T*>(std::aligned_alloc(64, (size * sizeof(T) + 63) / 64 * 64))) {
    if (data_ == nullptr) throw std::bad_alloc();
  }
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  T* get() const { return data_; }

 private:
  T* data_;
};

// The weights in the order in which the inner kernel reads them: (taps, inputs, 2 vectors) for each output vector pair.
template <class T>
class PackedWeights {
 public:
  PackedWeights(const Geometry& g, const T* weight, bool backward)
      : block_(static_cast<size_t>(g.taps) * g.channels * 2 * width<T>),
        blocks_(divide_up(g.channels, 2 * width<T>)),
        data_(block_ * blocks_) {
    const int lanes = 2 * width<T>;
    for (int b = 0; b < blocks_; ++b)
      for (int tap = 0; tap < g.taps; ++tap)
        for (int i = 0; i < g.channels; ++i) {
          T* to = data_.get() + b * block_ + (static_cast<size_t>(tap) * g.channels + i) * lanes;
          for (int lane = 0; lane < lanes; ++lane) {
            const int o = b * lanes + lane;
            if (o >= g.channels) to[lane] = 0;
            else if (backward) to[lane] = weight[(static_cast<size_t>(i) * g.channels + o) * g.taps + g.taps - 1 - tap];
            else to[lane] = weight[(static_cast<size_t>(o) * g.channels + i) * g.taps + tap];
          }
        }
  }
  int blocks() const { return blocks_; }
  const T* block(int b) const { return data_.get() + b * block_; }

 private:
  size_t block_;
  int blocks_;
  Buffer<T> data_;
};

// sums[p][v] = sum over all taps and inputs, for PIXELS neighbouring pixels and VECTORS vectors of output channels.
// STRIDE, from pixel to pixel, is a constant: so each address is one register plus a number.
template <class T, int VECTORS, int PIXELS, int STRIDE>
inline __attribute__((always_inline)) void multiply(const T* state, const T* weight, int taps, int channels,
                                                    Vector<T> (&sums)[PIXELS][VECTORS]) {
  for (int p = 0; p < PIXELS; ++p)
    for (int v = 0; v < VECTORS; ++v) sums[p][v] = Vector<T>{};
  for (int tap = 0; tap < taps; ++tap, state += STRIDE)
    for (int i = 0; i < channels; ++i, weight += 2 * width<T>) {
      Vector<T> w[VECTORS];
      for (int v = 0; v < VECTORS; ++v) w[v] = load(weight + v * width<T>);
#pragma GCC unroll 16
      for (int p = 0; p < PIXELS; ++p)
        for (int v = 0; v < VECTORS; ++v) sums[p][v] += w[v] * state[p * STRIDE + i];
    }
}

// Turns the sums of one vector of channels at one pixel into results; forward and backward.
template <class T>
struct Forward {
  const T *x, *bias;
  T slope;
  T *h, *z;

  Vector<T> finish(int64_t at, int o, int count, const Vector<T>& sum, bool first, bool) const {
    const Vector<T> zero = {};
    const Vector<T> pre = first ? zero : sum + load(bias + o, count);
    const Vector<T> out = load(x + at, count) + (pre > zero ? pre : pre * slope);
    store(h + at, out, count);
    if (z != nullptr) store(z + at, pre, count);
    return out;
  }
};

template <class T>
struct Backward {
  const T *grad, *z;
  T slope;
  T *dx, *dz;

  Vector<T> finish(int64_t at, int, int count, const Vector<T>& sum, bool, bool last) const {
    const Vector<T> zero = {};
    const Vector<T> out = load(grad + at, count) + sum;
    const Vector<T> gated = last ? zero : (load(z + at, count) > zero ? out : out * slope);
    store(dx + at, out, count);
    store(dz + at, gated, count);
    return gated;
  }
};

template <class T, int STRIDE, class Epilogue>
class Scan {
 public:
  Scan(const Geometry& g, const PackedWeights<T>& weights, const Epilogue& epilogue, bool descending)
      : g_(g),
        weights_(weights),
        epilogue_(epilogue),
        descending_(descending),
        radius_(g.taps / 2),
        tiles_(divide_up(g.pixels, tile_pixels)),
        row_(static_cast<size_t>(tiles_ * tile_pixels + 2 * radius_) * STRIDE) {}

  void run() const {
    const int threads = omp_in_parallel() ? 1 : omp_get_max_threads();
    if (g_.images >= 4 * threads || g_.images % threads == 0) run_images(threads);
    else run_rows(threads);
  }

 private:
  // One thread for each image: no thread waits for another.
  void run_images(int threads) const {
#pragma omp parallel num_threads(threads)
    {
      Buffer<T> rows(2 * row_);
#pragma omp for schedule(static)
      for (int64_t image = 0; image < g_.images; ++image) {
        std::memset(rows.get(), 0, 2 * row_ * sizeof(T));
        for (int t = 0; t < g_.steps; ++t)
          for (int tile = 0; tile < tiles_; ++tile) finish_tile(image, t, tile, rows.get());
      }
    }
  }

  // For few images: all threads share the tiles of a step, and wait for each other after it.
  void run_rows(int threads) const {
    Buffer<T> rows(g_.images * 2 * row_);
    std::memset(rows.get(), 0, g_.images * 2 * row_ * sizeof(T));
#pragma omp parallel num_threads(threads)
    for (int t = 0; t < g_.steps; ++t) {
#pragma omp for schedule(static)  // ends in a barrier
      for (int64_t item = 0; item < g_.images * tiles_; ++item)
        finish_tile(item / tiles_, t, static_cast<int>(item % tiles_), rows.get() + item / tiles_ * 2 * row_);
    }
  }

  void finish_tile(int64_t image, int t, int tile, T* rows) const {
    const int pixels = std::min(tile_pixels, g_.pixels - tile * tile_pixels);
    const T* last = rows + (t % 2) * row_;
    T* next = rows + ((t + 1) % 2) * row_;
    // a short last tile uses the smallest kernel that covers it
    constexpr int half = tile_pixels / 2, third = tile_pixels / 3;
    for (int b = 0; b < weights_.blocks(); ++b) {
      const int vectors = std::min(2, divide_up(g_.channels - 2 * b * width<T>, width<T>));
      if (pixels > half) block<tile_pixels>(image, t, tile, pixels, b, vectors, last, next);
      else if (pixels > third) block<half>(image, t, tile, pixels, b, vectors, last, next);
      else block<third>(image, t, tile, pixels, b, vectors, last, next);
    }
  }

  template <int PIXELS>
  void block(int64_t image, int t, int tile, int pixels, int b, int vectors, const T* last, T* next) const {
    if (vectors == 2) vectors_of<2, PIXELS>(image, t, tile, pixels, b, last, next);
    else vectors_of<1, PIXELS>(image, t, tile, pixels, b, last, next);
  }

  template <int VECTORS, int PIXELS>
  __attribute__((noinline)) void vectors_of(int64_t image, int t, int tile, int pixels, int b, const T* last,
                                            T* next) const {
    const int first = tile * tile_pixels;
    Vector<T> sums[PIXELS][VECTORS] = {};
    if (t > 0) multiply<T, VECTORS, PIXELS, STRIDE>(last + first * STRIDE, weights_.block(b), g_.taps, g_.channels, sums);
    const int64_t at = g_.slice(image, descending_ ? g_.steps - 1 - t : t) + first * g_.pixel_stride;
    for (int p = 0; p < pixels; ++p)
      for (int v = 0; v < VECTORS; ++v) {
        const int o = (2 * b + v) * width<T>;
        const Vector<T> state = epilogue_.finish(at + p * g_.pixel_stride + o, o, g_.channels - o, sums[p][v], t == 0,
                                                 t + 1 == g_.steps);
        store(next + (first + p + radius_) * STRIDE + o, state);
      }
  }

  const Geometry& g_;
  const PackedWeights<T>& weights_;
  const Epilogue& epilogue_;
  const bool descending_;
  const int radius_, tiles_;
  const size_t row_;
};

// Calls f with the scratch row's stride as a constant: the smallest power of two for the channels and a vector pair.
template <class T, class F>
void with_stride(int channels, F&& f) {
  const int padded = divide_up(channels, width<T>) * width<T>;
  if (padded <= 16) f(std::integral_constant<int, 16>());
  else if (padded <= 32) f(std::integral_constant<int, 32>());
  else if (padded <= 64) f(std::integral_constant<int, 64>());
  else f(std::integral_constant<int, max_channels>());
}

template <class T, class Epilogue>
void scan(const Geometry& g, const T* weight, const Epilogue& epilogue, bool backward) {
  const PackedWeights<T> packed(g, weight, backward);
  with_stride<T>(g.channels, [&](auto stride) {
    Scan<T, decltype(stride)::value, Epilogue>(g, packed, epilogue, g.reverse != backward).run();
  });
}

// Weight gradients of a share of the slices, as (taps, inputs, outputs padded to STRIDE). Runs of pixels are copied to
// scratch. The scratch stays in the first-level cache while all pairs of channel blocks use it.
template <class T, int STRIDE>
class WeightGradient {
 public:
  WeightGradient(const Geometry& g, const T* h, const T* dx, const T* z, const T* dz)
      : g_(g),
        h_(h),
        dx_(dx),
        z_(z),
        dz_(dz),
        sums_(static_cast<size_t>(g.taps) * STRIDE * STRIDE),
        source_(static_cast<size_t>(run_pixels + g.taps - 1) * STRIDE * max_runs),
        target_(static_cast<size_t>(run_pixels) * STRIDE * max_runs),
        bias_(g.channels, 0.0) {
    std::memset(sums_.get(), 0, static_cast<size_t>(g.taps) * STRIDE * STRIDE * sizeof(T));
    std::memset(source_.get(), 0, static_cast<size_t>(run_pixels + g.taps - 1) * STRIDE * max_runs * sizeof(T));
    std::memset(target_.get(), 0, static_cast<size_t>(run_pixels) * STRIDE * max_runs * sizeof(T));
  }

  void add_slice(int64_t image, int i) {
    const int64_t target = g_.slice(image, i), source = g_.slice(image, g_.reverse ? i + 1 : i - 1);
    for (int first = 0; first < g_.pixels; first += run_pixels) {
      const int count = std::min<int>(run_pixels, g_.pixels - first);
      copy_run(target, source, first, count);
      if (pixels_ >= run_pixels * 3 / 4 || runs_ == max_runs) flush();
    }
  }

  void flush() {
    for (int tap = 0; tap < g_.taps; ++tap)
      for (int i = 0; i < g_.channels; i += gradient_inputs)
        for (int o = 0; o < g_.channels; o += 2 * width<T>) {
          if (g_.channels - o > width<T>) add_block<2>(tap, i, o);
          else add_block<1>(tap, i, o);
        }
    runs_ = pixels_ = 0;
  }

  T weight(int o, int i, int tap) const { return sums_.get()[(static_cast<size_t>(tap) * STRIDE + i) * STRIDE + o]; }
  double bias(int o) const { return bias_[o]; }
  double slope() const { return slope_; }

 private:
  static constexpr int run_pixels = 64;  // x STRIDE 64 x 2 maps x 4 bytes = 32 KiB
  static constexpr int max_runs = 8;

  void copy_run(int64_t target, int64_t source, int first, int count) {
    const int radius = g_.taps / 2, c = g_.channels;
    T* to = source_.get() + static_cast<size_t>(runs_) * (run_pixels + g_.taps - 1) * STRIDE;
    for (int m = -radius; m < count + radius; ++m, to += STRIDE) {
      if (first + m < 0 || first + m >= g_.pixels) std::memset(to, 0, c * sizeof(T));
      else std::memcpy(to, h_ + source + (first + m) * g_.pixel_stride, c * sizeof(T));
    }
    to = target_.get() + static_cast<size_t>(runs_) * run_pixels * STRIDE;
    double slope = 0;
    for (int m = 0; m < count; ++m, to += STRIDE) {
      const int64_t at = target + (first + m) * g_.pixel_stride;
      std::memcpy(to, dz_ + at, c * sizeof(T));
      T pixel_slope = 0;
      for (int o = 0; o < c; ++o) {
        pixel_slope += dx_[at + o] * std::min(z_[at + o], T(0));
        bias_[o] += to[o];
      }
      slope += pixel_slope;
    }
    slope_ += slope;
    count_[runs_++] = count;
    pixels_ += count;
  }

  // Adds the products of `gradient_inputs` inputs and VECTORS vectors of outputs over the scratch runs.
  template <int VECTORS>
  __attribute__((noinline)) void add_block(int tap, int i, int o) {
    Vector<T> sums[gradient_inputs][VECTORS] = {};
    for (int run = 0; run < runs_; ++run) {
      const T* source = source_.get() + (static_cast<size_t>(run) * (run_pixels + g_.taps - 1) + tap) * STRIDE + i;
      const T* target = target_.get() + static_cast<size_t>(run) * run_pixels * STRIDE + o;
      for (int m = 0; m < count_[run]; ++m, source += STRIDE, target += STRIDE) {
        Vector<T> d[VECTORS];
        for (int v = 0; v < VECTORS; ++v) d[v] = load(target + v * width<T>);
#pragma GCC unroll 8
        for (int k = 0; k < gradient_inputs; ++k)
          for (int v = 0; v < VECTORS; ++v) sums[k][v] += d[v] * source[k];
      }
    }
    for (int k = 0; k < gradient_inputs; ++k)
      for (int v = 0; v < VECTORS; ++v) {
        T* to = sums_.get() + (static_cast<size_t>(tap) * STRIDE + i + k) * STRIDE + o + v * width<T>;
        store(to, load(to) + sums[k][v]);
      }
  }

  const Geometry& g_;
  const T *h_, *dx_, *z_, *dz_;
  Buffer<T> sums_, source_, target_;
  std::vector<double> bias_;
  double slope_ = 0;
  int count_[max_runs] = {};
  int runs_ = 0, pixels_ = 0;
};

template <class T, int STRIDE>
void weight_gradients_of(const Geometry& g, const T* h, const T* dx, const T* z, const T* dz, T* dweight, T* dbias,
                         T* dslope) {
  // a fixed number of shares, added in order: so the result does not depend on the number of threads
  constexpr int shares = 16;
  std::unique_ptr<WeightGradient<T, STRIDE>> share[shares];
  const int64_t slices = g.images * (g.steps - 1);
#pragma omp parallel for schedule(dynamic, 1)
  for (int s = 0; s < shares; ++s) {
    share[s] = std::make_unique<WeightGradient<T, STRIDE>>(g, h, dx, z, dz);
    for (int64_t i = slices * s / shares; i < slices * (s + 1) / shares; ++i)
      share[s]->add_slice(i / (g.steps - 1), static_cast<int>(i % (g.steps - 1)) + (g.reverse ? 0 : 1));
    share[s]->flush();
  }
#pragma omp parallel for schedule(static)
  for (int o = 0; o < g.channels; ++o) {
    for (int i = 0; i < g.channels; ++i)
      for (int tap = 0; tap < g.taps; ++tap) {
        T sum = 0;
        for (const auto& part : share) sum += part->weight(o, i, tap);
        dweight[(static_cast<size_t>(o) * g.channels + i) * g.taps + tap] = sum;
      }
    double sum = 0;
    for (const auto& part : share) sum += part->bias(o);
    dbias[o] = static_cast<T>(sum);
  }
  double sum = 0;
  for (const auto& part : share) sum += part->slope();
  *dslope = static_cast<T>(sum);
}

}  // namespace

template <class T>
void forward(const Geometry& g, const T* x, const T* weight, const T* bias, T slope, T* h, T* z) {
  scan(g, weight, Forward<T>{x, bias, slope, h, z}, false);
}

template <class T>
void backward(const Geometry& g, const T* grad, const T* z, const T* weight, T slope, T* dx, T* dz) {
  scan(g, weight, Backward<T>{grad, z, slope, dx, dz}, true);
}

template <class T>
void weight_gradients(const Geometry& g, const T* h, const T* dx, const T* z, const T* dz, T* dweight, T* dbias,
                      T* dslope) {
  with_stride<T>(g.channels, [&](auto stride) {
    weight_gradients_of<T, decltype(stride)::value>(g, h, dx, z, dz, dweight, dbias, dslope);
  });
}

#define HSISR_INSTANTIATE(T)                                                                             \
  template void forward(const Geometry&, const T*, const T*, const T*, T, T*, T*);                       \
  template void backward(const Geometry&, const T*, const T*, const T*, T, T*, T*);                      \
  template void weight_gradients(const Geometry&, const T*, const T*, const T*, const T*, T*, T*, T*);
HSISR_INSTANTIATE(float)
HSISR_INSTANTIATE(double)

}  // namespace conv_scan_cpu
