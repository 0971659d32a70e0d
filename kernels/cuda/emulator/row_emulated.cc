// The file of kernels, for the emulator.
#include "kernels/cuda/row_kernels.cu"
