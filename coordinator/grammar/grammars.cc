#include "coordinator/grammar/grammars.h"

#include <glog/logging.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <list>
#include <map>
#include <thread>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/grammar/compiler_process.h"
#include "coordinator/grammar/xgrammar_engine.h"

namespace quire::grammar {
namespace {

using Grammar = std::shared_ptr<const CompiledGrammar>;

// How many bytes an entry of the cache takes beside its source and its grammar.
constexpr size_t kEntryBytes = 512;

// Of the calling thread.
absl::Duration CpuTime() {
  timespec time;
  CHECK_EQ(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time), 0);
  return absl::DurationFromTimespec(time);
}

// What a constraint and the threads that work for it share.
struct Choice {
  std::vector<int32_t> stop_ids;
  std::atomic<bool> ready{false};
  // Written before `ready` by the one thread whose turn it is, read after.
  absl::Status status;
  TokenMask mask;
  std::unique_ptr<Matcher> matcher;
  absl::Mutex mu;
  std::function<void()> wake ABSL_GUARDED_BY(mu);

  void BecomeReady() {
    ready.store(true, std::memory_order_release);
    absl::MutexLock lock(&mu);
    if (wake != nullptr) wake();
  }
};

using ChoicePtr = std::shared_ptr<Choice>;

}  // namespace

class Grammars::Impl : public std::enable_shared_from_this<Grammars::Impl> {
 public:
  Impl(const GrammarOptions& options, TokenBytes token_bytes)
      : options_(options), token_bytes_(std::move(token_bytes)) {}

  void Stop();
  absl::StatusOr<MakeConstraint> Constrain(const std::string& tenant, GrammarSource source,
                                           std::vector<int32_t> stop_ids, int32_t vocab_size);
  // The choice's next token, or -1 for its first mask.
  void AddMaskJob(ChoicePtr choice, Grammar grammar, int32_t token);

 private:
  struct Entry {
    std::string key, tenant;
    GrammarSource source;
    bool done = false;
    absl::StatusOr<Grammar> result = absl::InternalError("not compiled");
    std::vector<ChoicePtr> waiting;
    size_t bytes = 0;
  };
  using EntryPtr = std::shared_ptr<Entry>;
  struct MaskJob {
    ChoicePtr choice;
    Grammar grammar;
    int32_t token = -1;
  };

  class Constraint;

  absl::Status Explain(const absl::Status& status, const std::string& field) const {
    return options_.explain == nullptr ? status : options_.explain(status, field);
  }
  void Start(int32_t vocab_size) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status MakeRoom(const std::string& tenant) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CompileLoop(int32_t vocab_size);
  std::vector<std::string> AllTokenBytes(int32_t vocab_size) const;
  absl::StatusOr<Grammar> CompileOne(const GrammarSource& source, const Vocabulary& vocabulary,
                                     CompilerProcess* process) const;
  void Finish(Entry* entry, absl::StatusOr<Grammar> result);
  void Trim() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Await(const EntryPtr& entry, const ChoicePtr& choice);
  void MaskLoop();
  absl::Status NextMask(const MaskJob& job);
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stopping_ || !pending_.empty(); }
  bool HasMaskWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mask_mu_) { return mask_stopping_ || !jobs_.empty(); }

  const GrammarOptions options_;
  const TokenBytes token_bytes_;

  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<EntryPtr> pending_ ABSL_GUARDED_BY(mu_);
  std::list<EntryPtr> entries_ ABSL_GUARDED_BY(mu_);  // most recently used first
  std::unordered_map<std::string, std::list<EntryPtr>::iterator> by_key_ ABSL_GUARDED_BY(mu_);
  size_t bytes_ ABSL_GUARDED_BY(mu_) = 0;  // of the entries that are done
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mu_);
  CompilerProcess* process_ ABSL_GUARDED_BY(mu_) = nullptr;  // of the compiling thread, while it has one

  absl::Mutex mask_mu_;
  bool mask_stopping_ ABSL_GUARDED_BY(mask_mu_) = false;
  std::deque<MaskJob> jobs_ ABSL_GUARDED_BY(mask_mu_);  // at most one for each live choice
  size_t words_ = 0;                                    // of a mask; set before the threads start
};

class Grammars::Impl::Constraint final : public request::OutputConstraint {
 public:
  Constraint(std::shared_ptr<Impl> impl, ChoicePtr choice) : impl_(std::move(impl)), choice_(std::move(choice)) {}
  ~Constraint() override { SetWake(nullptr); }

  void SetWake(std::function<void()> wake) override {
    absl::MutexLock lock(&choice_->mu);
    choice_->wake = std::move(wake);
  }
  void Advance(int32_t token) override {
    choice_->ready.store(false, std::memory_order_relaxed);
    impl_->AddMaskJob(choice_, nullptr, token);
  }
  bool ready() const override { return choice_->ready.load(std::memory_order_acquire); }
  absl::Status status() const override { return choice_->status; }
  TokenMask mask() const override { return choice_->mask; }

 private:
  const std::shared_ptr<Impl> impl_;
  const ChoicePtr choice_;
};

absl::Status Grammars::Impl::MakeRoom(const std::string& tenant) const {
  const auto own = static_cast<size_t>(std::count_if(
      pending_.begin(), pending_.end(), [&tenant](const EntryPtr& entry) { return entry->tenant == tenant; }));
  if (own >= kPendingPerTenant) {
    return absl::ResourceExhaustedError(
        absl::StrCat(own, " new grammars of this tenant are waiting to be compiled, at most ", kPendingPerTenant));
  }
  if (pending_.size() < options_.max_pending) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(pending_.size(), " new grammars are waiting to be compiled, at most ", options_.max_pending));
}

absl::StatusOr<Grammars::MakeConstraint> Grammars::Impl::Constrain(const std::string& tenant, GrammarSource source,
                                                                   std::vector<int32_t> stop_ids, int32_t vocab_size) {
  CHECK(!stop_ids.empty());
  if (!HasGrammarLibrary()) {
    return Explain(absl::UnimplementedError("is not served: this server was built without the grammar library."),
                   source.field);
  }
  std::string key = absl::StrCat(tenant.size(), ":", tenant, static_cast<int>(source.kind), source.text);
  EntryPtr entry;
  {
    absl::MutexLock lock(&mu_);
    if (stopping_) return absl::UnavailableError("the server is shutting down");
    const auto known = by_key_.find(key);
    if (known != by_key_.end()) {
      entries_.splice(entries_.begin(), entries_, known->second);
      entry = entries_.front();
    } else {
      if (absl::Status room = MakeRoom(tenant); !room.ok()) return Explain(room, source.field);
      entry = std::make_shared<Entry>();
      entry->key = std::move(key);
      entry->tenant = tenant;
      entry->source = std::move(source);
      entries_.push_front(entry);
      by_key_.emplace(entry->key, entries_.begin());
      pending_.push_back(entry);
      if (threads_.empty()) Start(vocab_size);
    }
  }
  return MakeConstraint([self = shared_from_this(), entry, stop_ids = std::move(stop_ids)] {
    auto choice = std::make_shared<Choice>();
    choice->stop_ids = stop_ids;
    self->Await(entry, choice);
    return std::make_unique<Constraint>(self, choice);
  });
}

void Grammars::Impl::Await(const EntryPtr& entry, const ChoicePtr& choice) {
  {
    absl::MutexLock lock(&mu_);
    if (!entry->done) return entry->waiting.push_back(choice);
  }
  if (entry->result.ok()) return AddMaskJob(choice, *entry->result, -1);
  choice->status = Explain(entry->result.status(), entry->source.field);
  choice->BecomeReady();
}

void Grammars::Impl::AddMaskJob(ChoicePtr choice, Grammar grammar, int32_t token) {
  absl::MutexLock lock(&mask_mu_);
  jobs_.push_back({std::move(choice), std::move(grammar), token});
}

// The threads start when the first grammar comes: most servers never see one.
void Grammars::Impl::Start(int32_t vocab_size) {
  words_ = (static_cast<size_t>(vocab_size) + 31) / 32;
  threads_.emplace_back([this, vocab_size] { CompileLoop(vocab_size); });
  for (int i = 0; i < options_.mask_threads; ++i) threads_.emplace_back([this] { MaskLoop(); });
}

void Grammars::Impl::Stop() {
  std::vector<std::thread> threads;
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    if (process_ != nullptr) process_->CallOff();
    threads.swap(threads_);
  }
  {
    absl::MutexLock lock(&mask_mu_);
    mask_stopping_ = true;
  }
  for (std::thread& thread : threads) thread.join();
}

std::vector<std::string> Grammars::Impl::AllTokenBytes(int32_t vocab_size) const {
  std::vector<std::string> bytes(static_cast<size_t>(vocab_size));
  for (int32_t id = 0; id < vocab_size; ++id) bytes[id] = token_bytes_(id);
  return bytes;
}

void Grammars::Impl::CompileLoop(int32_t vocab_size) {
  std::vector<std::string> token_bytes = AllTokenBytes(vocab_size);
  absl::StatusOr<std::shared_ptr<const Vocabulary>> vocabulary = Vocabulary::Make(token_bytes);
  CompilerProcess process(options_.program, std::move(token_bytes), options_.compiler_memory_bytes);
  {
    absl::MutexLock lock(&mu_);
    process_ = &process;
  }
  while (true) {
    EntryPtr entry;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(this, &Impl::HasWork));
      if (stopping_) {
        process_ = nullptr;
        return;
      }
      entry = pending_.front();
    }
    Finish(entry.get(), vocabulary.ok() ? CompileOne(entry->source, **vocabulary, &process) : vocabulary.status());
  }
}

absl::StatusOr<Grammar> Grammars::Impl::CompileOne(const GrammarSource& source, const Vocabulary& vocabulary,
                                                   CompilerProcess* process) const {
  const absl::StatusOr<std::string> compiled = process->Compile(source, options_.compile_timeout);
  if (!compiled.ok()) return compiled.status();
  return CompiledGrammar::FromBytes(*compiled, vocabulary);
}

void Grammars::Impl::Finish(Entry* entry, absl::StatusOr<Grammar> result) {
  std::vector<ChoicePtr> waiting;
  {
    absl::MutexLock lock(&mu_);
    pending_.pop_front();
    entry->bytes = kEntryBytes + 2 * entry->key.size() + (result.ok() ? (*result)->num_bytes() : 0);
    entry->result = std::move(result);
    entry->done = true;
    waiting.swap(entry->waiting);
    bytes_ += entry->bytes;
    // What says nothing of the source must not be remembered for it.
    if (absl::IsInternal(entry->result.status())) {
      const auto it = by_key_.find(entry->key);
      bytes_ -= entry->bytes;
      entries_.erase(it->second);
      by_key_.erase(it);
    }
    Trim();
  }
  for (const ChoicePtr& choice : waiting) {
    if (entry->result.ok()) {
      AddMaskJob(choice, *entry->result, -1);
    } else {
      choice->status = Explain(entry->result.status(), entry->source.field);
      choice->BecomeReady();
    }
  }
}

void Grammars::Impl::Trim() {
  for (auto it = entries_.end(); it != entries_.begin() && bytes_ > options_.cache_bytes;) {
    --it;
    if (!(*it)->done) continue;
    bytes_ -= (*it)->bytes;
    by_key_.erase((*it)->key);
    it = entries_.erase(it);
  }
}

void Grammars::Impl::MaskLoop() {
  while (true) {
    MaskJob job;
    {
      absl::MutexLock lock(&mask_mu_);
      mask_mu_.Await(absl::Condition(this, &Impl::HasMaskWork));
      if (mask_stopping_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    if (job.choice.use_count() == 1) continue;  // nobody waits any more
    const absl::Duration start = CpuTime();
    job.choice->status = NextMask(job);
    const absl::Duration took = CpuTime() - start;
    if (took > options_.mask_timeout && job.choice->status.ok()) {
      job.choice->status = absl::ResourceExhaustedError(
          absl::StrCat("the grammar takes too long: ", absl::FormatDuration(took), " for one token, at most ",
                       absl::FormatDuration(options_.mask_timeout)));
    }
    job.choice->BecomeReady();
  }
}

absl::Status Grammars::Impl::NextMask(const MaskJob& job) {
  Choice* choice = job.choice.get();
  if (job.grammar != nullptr) {
    absl::StatusOr<std::unique_ptr<Matcher>> matcher = Matcher::Make(*job.grammar, choice->stop_ids);
    if (!matcher.ok()) return matcher.status();
    choice->matcher = *std::move(matcher);
  } else {
    const absl::StatusOr<bool> accepted = choice->matcher->Accept(job.token);
    if (!accepted.ok()) return accepted.status();
    if (!*accepted) return absl::InternalError(absl::StrCat("token ", job.token, " is outside of the grammar"));
  }
  auto words = std::make_shared<std::vector<uint32_t>>(words_, 0);
  if (absl::Status filled = choice->matcher->FillMask(absl::MakeSpan(*words)); !filled.ok()) return filled;
  const bool any = std::any_of(words->begin(), words->end(), [](uint32_t word) { return word != 0; });
  if (!any) {
    return absl::InvalidArgumentError("the grammar cannot go on: no token of the model's vocabulary continues it");
  }
  choice->mask = std::move(words);
  return absl::OkStatus();
}

Grammars::Grammars(const GrammarOptions& options, TokenBytes token_bytes)
    : impl_(std::make_shared<Impl>(options, std::move(token_bytes))) {}
Grammars::~Grammars() { impl_->Stop(); }

absl::StatusOr<Grammars::MakeConstraint> Grammars::Constrain(const std::string& tenant, GrammarSource source,
                                                             std::vector<int32_t> stop_ids, int32_t vocab_size) {
  return impl_->Constrain(tenant, std::move(source), std::move(stop_ids), vocab_size);
}

}  // namespace quire::grammar
