// The file of kernels, for the emulator.
#include "kernels/cuda/sampling_kernels.cu"
