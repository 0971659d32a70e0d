// The file of kernels, for the emulator.
#include "kernels/cuda/matmul_kernels.cu"
