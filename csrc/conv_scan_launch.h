// conv_scan_launch.h - the one function by which the binding starts the CUDA library's kernel.
#pragma once
#include "arguments.h"

// Starts the scan of `images` images on a cudaStream_t. Returns null, or the error as text.
const char* conv_scan_launch(const conv_scan::Arguments& arguments, int images, bool backward, int tiles, void* stream);
