// The file of kernels, for the emulator.
#include "kernels/cuda/attention_kernels.cu"
