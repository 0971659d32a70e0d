#include "coordinator/http/task_pool.h"

#include <utility>

namespace quire::http {

TaskPool::TaskPool(int num_threads, size_t queue_max) : queue_max_(queue_max) {
  for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Work(); });
}

TaskPool::~TaskPool() { Stop(); }

bool TaskPool::Run(std::function<void()>* task) {
  absl::MutexLock lock(&mutex_);
  if (stopping_ || tasks_.size() >= queue_max_) return false;
  tasks_.push_back(std::move(*task));
  return true;
}

void TaskPool::Stop() {
  std::deque<std::function<void()>> dropped;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    dropped.swap(tasks_);
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void TaskPool::Work() {
  while (true) {
    std::function<void()> task;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &TaskPool::HasWork));
      if (stopping_) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

}  // namespace quire::http
