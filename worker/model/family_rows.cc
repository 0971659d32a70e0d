#include "worker/model/family_rows.h"

#include <iterator>

namespace quire::worker {

const std::vector<FamilyRow>& Families() {
  static const auto* const families = [] {
    auto* const all = new std::vector<FamilyRow>;
    for (std::vector<FamilyRow> (*rows)() :
         {LlamaLikeRows, LayerNormRows, RemoteCodeRows, AlibiRows, WindowRows, ExpertRows}) {
      std::vector<FamilyRow> some = rows();
      all->insert(all->end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
    }
    return all;
  }();
  return *families;
}

}  // namespace quire::worker
