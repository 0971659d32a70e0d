// Functions that a CPU and a GPU share to the last bit carry this mark; to a C++ compiler it is nothing. Leaf.
#ifndef QUIRE_KERNELS_HOST_DEVICE_H_
#define QUIRE_KERNELS_HOST_DEVICE_H_

#ifdef __CUDACC__
#define QUIRE_HD __host__ __device__
#else
#define QUIRE_HD
#endif

#endif  // QUIRE_KERNELS_HOST_DEVICE_H_
