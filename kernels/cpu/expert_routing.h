// Routing of a mixture of experts: what both CPU backends do alike. Small beside the products that follow.
#ifndef QUIRE_KERNELS_CPU_EXPERT_ROUTING_H_
#define QUIRE_KERNELS_CPU_EXPERT_ROUTING_H_

#include <cstdint>

#include "kernels/expert_ops.h"

namespace quire::kernels::cpu {

// The picks of one token (E1), by ascending id. Shapes: logits [num_experts]; ids, weights [num_chosen].
void ChooseExperts(const float* logits, int64_t num_experts, int64_t num_chosen, bool renormalize, int32_t* ids,
                   float* weights);

// Fills rows, row_token and row_start of a routing whose ids are there.
void SortByExpert(const RouteParams& params, const ExpertRouting& routing);

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_EXPERT_ROUTING_H_
