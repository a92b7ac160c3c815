// launch.h - the few words of a kernel and its launch that differ between nvcc and the host emulation.
#pragma once
#if defined(__CUDACC__)
#define HSISR_SHARED_MEMORY(name) extern __shared__ __align__(16) unsigned char name[]
#else
#include "emulation/emulation.h"  // defines HSISR_SHARED_MEMORY
#endif
