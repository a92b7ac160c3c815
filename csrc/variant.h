// variant.h - the variant of this library, given by -D flags that hsisr/ops/plan.py chooses.
#pragma once
#include "layout.h"

#ifndef HSISR_CHANNELS
#error "compile with -DHSISR_CHANNELS=64 -DHSISR_TAPS=7 -DHSISR_ARITHMETIC=tf32 and the three splits of hsisr/ops/plan.py"
#endif

using LibraryVariant = conv_scan::Variant<HSISR_CHANNELS, HSISR_TAPS, conv_scan::Arithmetic::HSISR_ARITHMETIC,
                                          HSISR_ROW_TILES, HSISR_K_SPLITS, HSISR_PIXEL_SPLITS>;

// Calls f(std::integral_constant<int, T>) for this number of tiles; returns false if the library has no such kernel.
template <int TILES, class F>
bool if_tiles(int tiles, F&& f) {
  if constexpr (TILES <= HSISR_MAX_TILES) {
    if (tiles == TILES) f(std::integral_constant<int, TILES>());
    return tiles == TILES;
  }
  return false;
}

template <class F>
bool with_tiles(int tiles, F&& f) {
  return if_tiles<1>(tiles, f) || if_tiles<2>(tiles, f) || if_tiles<3>(tiles, f) || if_tiles<4>(tiles, f) ||
         if_tiles<6>(tiles, f);
}
