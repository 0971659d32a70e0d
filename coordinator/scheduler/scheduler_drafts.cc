// Scheduler: what a complete plan leaves goes to drafts, and what their answers mean for its books.
#include "coordinator/scheduler/scheduler.h"

namespace quire::scheduler {

using request::Sequence;

void Scheduler::AddDrafts() {
  DraftRoom room;
  room.tokens = options_.max_num_batched_tokens - plan_->num_tokens();
  const int64_t rows = options_.max_logit_rows > 0 ? options_.max_logit_rows : options_.max_num_seqs;
  room.rows = rows - plan_->num_samples();
  // A row more must bring as many tokens as the step would bring in the time that the row takes.
  StepShape longer = shape_;
  longer.AddDecode(shape_.decodes > 0 ? shape_.decode_context / shape_.decodes : 0);
  const double seconds = cost_of_step_.Seconds(shape_);
  if (seconds > 0) {
    room.price = static_cast<double>(shape_.decodes) * (cost_of_step_.Seconds(longer) - seconds) / seconds;
  }
  // What rejected drafts took is free again before anything else is planned.
  room.blocks = kv_.pool().num_free();
  drafts_.AddDrafts(*samples_, room, &kv_, plan_, &shape_);
}

void Scheduler::NoteAnswer(Sequence* s, int64_t accepted) {
  if (s->num_drafted == 0) return drafts_.NoteUndrafted(s);
  drafts_.NoteAnswer(s, accepted, &kv_);
  Charge(s, kGeneratedCost * static_cast<double>(s->num_computed - s->num_charged));
}

}  // namespace quire::scheduler
