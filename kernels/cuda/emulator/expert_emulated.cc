// The file of kernels, for the emulator.
#include "kernels/cuda/expert_kernels.cu"
