// conv_scan_emulated.cpp - the scan kernel of one variant as a C function that the tests call. Tests only.
#include "conv_scan.h"
#include "variant.h"

extern "C" {

// Runs the kernel on host arrays under the schedule that `seed` gives. Returns 0, or 1: threads wait for each other
// for ever, 2: a write past the shared memory, 3: no kernel for this number of tiles.
int conv_scan_emulated(const conv_scan::Arguments* arguments, int images, bool backward, int tiles, unsigned seed) {
  int status = 3;
  with_tiles(tiles, [&](auto count) {
    constexpr int TILES = decltype(count)::value;
    const auto body = [&] {
      if (backward) conv_scan::scan_kernel<LibraryVariant, TILES, true>(*arguments);
      else conv_scan::scan_kernel<LibraryVariant, TILES, false>(*arguments);
    };
    const size_t shared = conv_scan::shared_bytes<LibraryVariant>(arguments->pixels, TILES);
    status = emulation::Machine::get().launch(images, LibraryVariant::threads, shared, seed, body);
  });
  return status;
}

size_t conv_scan_shared_bytes(int pixels, int tiles) {
  size_t bytes = 0;
  with_tiles(tiles, [&](auto count) {
    bytes = conv_scan::shared_bytes<LibraryVariant>(pixels, decltype(count)::value);
  });
  return bytes;
}

int conv_scan_threads() { return LibraryVariant::threads; }
}
