// conv_scan_launch.h - the one function through which the binding reaches the CUDA library's kernel.
#pragma once
#include "arguments.h"

// Starts the scan of `images` images on a cudaStream_t. Returns null, or what went wrong.
const char* conv_scan_launch(const conv_scan::Arguments& arguments, int images, bool backward, int tiles, void* stream);
