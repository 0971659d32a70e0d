// Command-line client of quire.v1.Generator: streams a continuation to stdout as it comes.
//
//   generate "Once upon a time"           the prompt as an argument, as --prompt=..., or on stdin
//   generate --n=3 --temperature=0.8 ...  several choices, each whole and labelled
//   generate --json ...                   one JSON object per response, as the server sent it
//   generate --chat --system=... ...      the prompt is a user's message of a conversation
//   generate --stats ...                  times, tokens and block usage by rank on stderr
//   generate --stop=X --stop=', ' ...     one stop string each time; escapes as in C ("\n"); a comma is part of the
//   string
//
// Text goes to stdout, everything else to stderr. Exit codes: 0 done, 1 the server refused or failed, 2 bad usage, 130
// interrupted.
//
// Threads: the main thread reads the stream; a second one waits for Ctrl-C and cancels the call.
#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/generate.grpc.pb.h"

// A negative or NaN default stands for "not given": the server's default applies.
ABSL_FLAG(std::string, server, "127.0.0.1:50051", "host:port of the coordinator");
ABSL_FLAG(std::string, api_key_file, "", "file with the API key; empty = none is sent");
ABSL_FLAG(std::string, ca_file, "",
          "PEM file of the authorities trusted with the server's certificate; empty = clear text");
ABSL_FLAG(std::string, prompt, "", "the prompt; else the arguments, else stdin");
ABSL_FLAG(bool, chat, false, "the prompt is a user's message: the model's chat template makes the prompt of it");
ABSL_FLAG(std::string, system, "", "with --chat: the system message in front of it");
ABSL_FLAG(std::string, chat_template_kwargs, "", "with --chat: a JSON object of variables for the template");
ABSL_FLAG(int64_t, max_tokens, -1, "most tokens to generate; -1 = as many as the context holds");
ABSL_FLAG(int64_t, min_tokens, -1, "fewest tokens before the end may come");
ABSL_FLAG(int64_t, n, 1, "number of choices");
ABSL_FLAG(int64_t, beam_width, -1, "beam search with this many beams; prints the --n best texts when it is done");
ABSL_FLAG(std::string, length_penalty, "", "of beam search: above 0 favours longer texts; empty = 1");
ABSL_FLAG(std::string, early_stopping, "", "of beam search: true, false or never; empty = false");
ABSL_FLAG(int64_t, best_of, -1, "draw this many and answer the --n best by log-prob per token; with --no_stream");
ABSL_FLAG(std::string, temperature, "", "0 = greedy; empty = the model's default");
ABSL_FLAG(std::string, top_p, "", "keep the likeliest tokens up to this probability");
ABSL_FLAG(int64_t, top_k, -1, "keep this many of the likeliest tokens; 0 = all");
ABSL_FLAG(std::string, min_p, "", "drop tokens below this share of the likeliest one's probability");
ABSL_FLAG(std::string, repetition_penalty, "", "above 1 discourages tokens that occurred");
ABSL_FLAG(std::string, seed, "", "an integer; empty = drawn by the server (shown by --stats)");
ABSL_FLAG(std::vector<std::string>, stop, {},
          "a stop string, may be given several times; C escapes; not split at commas");
ABSL_FLAG(int64_t, logprobs, -1, "print log-probabilities: of the token and of this many of the likeliest");
ABSL_FLAG(int64_t, prompt_logprobs, -1, "likewise for the prompt's tokens");
ABSL_FLAG(int64_t, shared_prefix_tokens, -1,
          "so many of the prompt's first tokens are shared with other requests: keep them cached");
ABSL_FLAG(bool, echo, false, "print the prompt before the output");
ABSL_FLAG(bool, ignore_eos, false, "go on after the end of the text");
ABSL_FLAG(bool, json, false, "print each response as one line of JSON");
ABSL_FLAG(bool, no_stream, false, "ask for the whole answer at once");
ABSL_FLAG(bool, stats, false, "print times, tokens and block usage to stderr");
ABSL_FLAG(absl::Duration, timeout, absl::InfiniteDuration(), "deadline of the request");

namespace {

using quire::v1::GenerateRequest;
using quire::v1::GenerateResponse;

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitInterrupted = 130;

[[noreturn]] void UsageError(const std::string& what) {
  std::cerr << "generate: " << what << "\n";
  std::exit(kExitUsage);
}

// The first line or the whole of a file that a flag names.
std::string ReadFlagFile(const std::string& flag, const std::string& path, bool first_line) {
  std::ifstream in(path);
  std::string text;
  std::getline(in, text, first_line ? '\n' : '\0');
  absl::StripAsciiWhitespace(&text);
  if (text.empty()) UsageError(absl::StrCat("--", flag, "=", path, ": there is nothing in it"));
  return text;
}

std::shared_ptr<grpc::Channel> Connect(const std::string& server) {
  const std::string path = absl::GetFlag(FLAGS_ca_file);
  if (path.empty()) return grpc::CreateChannel(server, grpc::InsecureChannelCredentials());
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = ReadFlagFile("ca_file", path, /*first_line=*/false);
  return grpc::CreateChannel(server, grpc::SslCredentials(options));
}

void AddKey(grpc::ClientContext* context) {
  const std::string path = absl::GetFlag(FLAGS_api_key_file);
  if (path.empty()) return;
  context->AddMetadata("authorization", absl::StrCat("Bearer ", ReadFlagFile("api_key_file", path, true)));
}

// absl splits list flags at commas and keeps the last of several, neither of which suits stop strings: takes them out
// of the arguments.
std::vector<std::string> TakeStopStrings(int* argc, char** argv) {
  std::vector<std::string> stops;
  int kept = 1;
  for (int i = 1; i < *argc; ++i) {
    const absl::string_view arg = argv[i];
    if (arg == "--") {
      while (i < *argc) argv[kept++] = argv[i++];
      break;
    }
    absl::string_view value;
    if (absl::StartsWith(arg, "--stop=")) {
      value = arg.substr(7);
    } else if (arg == "--stop") {
      if (i + 1 == *argc) UsageError("--stop wants a string");
      value = argv[++i];
    } else {
      argv[kept++] = argv[i];
      continue;
    }
    std::string stop, error;
    if (!absl::CUnescape(value, &stop, &error)) UsageError(absl::StrCat("--stop=", value, ": ", error));
    stops.push_back(stop);
  }
  argv[kept] = nullptr;
  *argc = kept;
  return stops;
}

std::string ReadPrompt(const std::vector<char*>& args) {
  if (!absl::GetFlag(FLAGS_prompt).empty()) return absl::GetFlag(FLAGS_prompt);
  if (args.size() > 1) return absl::StrJoin(args.begin() + 1, args.end(), " ");
  if (isatty(STDIN_FILENO)) std::cerr << "generate: type the prompt, end with Ctrl-D\n";
  std::string text{std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// The setters below send only what was given; the server judges the values and names the field.
template <typename Set>
void SetFloat(const char* name, const std::string& text, const Set& set) {
  if (text.empty()) return;
  char* end = nullptr;
  const float value = std::strtof(text.c_str(), &end);
  if (*end != '\0') UsageError(absl::StrCat("--", name, " wants a number, got '", text, "'"));
  set(value);
}

template <typename Set>
void SetCount(const char* name, int64_t value, const Set& set) {
  if (value == -1) return;
  if (value < 0 || value > UINT32_MAX) UsageError(absl::StrCat("--", name, " must be 0 or more, got ", value));
  set(static_cast<uint32_t>(value));
}

void AddMessage(const char* role, const std::string& content, quire::v1::ChatInput* chat) {
  quire::v1::ChatMessage* message = chat->add_messages();
  message->set_role(role);
  message->set_content(content);
}

void SetPrompt(const std::string& prompt, GenerateRequest* request) {
  const std::string system = absl::GetFlag(FLAGS_system), kwargs = absl::GetFlag(FLAGS_chat_template_kwargs);
  if (!absl::GetFlag(FLAGS_chat)) {
    if (!system.empty() || !kwargs.empty()) UsageError("--system and --chat_template_kwargs go with --chat");
    return request->set_text(prompt);
  }
  if (!system.empty()) AddMessage("system", system, request->mutable_chat());
  AddMessage("user", prompt, request->mutable_chat());
  if (!kwargs.empty()) request->mutable_chat()->set_chat_template_kwargs(kwargs);
}

GenerateRequest MakeRequest(const std::string& prompt, const std::vector<std::string>& stops) {
  GenerateRequest request;
  SetPrompt(prompt, &request);
  request.set_stream(!absl::GetFlag(FLAGS_no_stream));
  quire::v1::SamplingParams* p = request.mutable_sampling_params();
  SetFloat("temperature", absl::GetFlag(FLAGS_temperature), [p](float v) { p->set_temperature(v); });
  SetFloat("top_p", absl::GetFlag(FLAGS_top_p), [p](float v) { p->set_top_p(v); });
  SetFloat("min_p", absl::GetFlag(FLAGS_min_p), [p](float v) { p->set_min_p(v); });
  SetFloat("repetition_penalty", absl::GetFlag(FLAGS_repetition_penalty),
           [p](float v) { p->set_repetition_penalty(v); });
  SetCount("top_k", absl::GetFlag(FLAGS_top_k), [p](uint32_t v) { p->set_top_k(v); });
  SetCount("max_tokens", absl::GetFlag(FLAGS_max_tokens), [p](uint32_t v) { p->set_max_tokens(v); });
  SetCount("min_tokens", absl::GetFlag(FLAGS_min_tokens), [p](uint32_t v) { p->set_min_tokens(v); });
  SetCount("n", absl::GetFlag(FLAGS_n), [p](uint32_t v) { p->set_n(v); });
  SetCount("beam_width", absl::GetFlag(FLAGS_beam_width), [p](uint32_t v) {
    p->set_use_beam_search(true);
    p->set_beam_width(v);
  });
  SetFloat("length_penalty", absl::GetFlag(FLAGS_length_penalty), [p](float v) { p->set_length_penalty(v); });
  if (const std::string early = absl::GetFlag(FLAGS_early_stopping); !early.empty()) p->set_early_stopping(early);
  SetCount("best_of", absl::GetFlag(FLAGS_best_of), [p](uint32_t v) { p->set_best_of(v); });
  SetCount("logprobs", absl::GetFlag(FLAGS_logprobs), [p](uint32_t v) { p->set_logprobs(static_cast<int32_t>(v)); });
  SetCount("prompt_logprobs", absl::GetFlag(FLAGS_prompt_logprobs),
           [p](uint32_t v) { p->set_prompt_logprobs(static_cast<int32_t>(v)); });
  SetCount("shared_prefix_tokens", absl::GetFlag(FLAGS_shared_prefix_tokens),
           [&request](uint32_t v) { request.set_shared_prefix_tokens(v); });
  if (absl::GetFlag(FLAGS_echo)) request.set_echo(true);
  if (const std::string seed = absl::GetFlag(FLAGS_seed); !seed.empty()) {
    int64_t value = 0;
    if (!absl::SimpleAtoi(seed, &value)) UsageError(absl::StrCat("--seed wants an integer, got '", seed, "'"));
    p->set_seed(value);
  }
  for (const std::string& stop : stops) p->add_stop(stop);
  if (absl::GetFlag(FLAGS_ignore_eos)) p->set_ignore_eos(true);
  return request;
}

void PrintJson(const GenerateResponse& response) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = false;
  std::string line;
  const auto status = google::protobuf::util::MessageToJsonString(response, &line, options);
  if (!status.ok()) std::cerr << "generate: " << status.ToString() << "\n";
  std::cout << line << std::endl;
}

// Control characters would break the lines.
std::string Printable(const std::string& text) { return absl::Utf8SafeCEscape(text); }

template <typename Logprobs>  // of the output or of the input
void PrintLogprobs(const Logprobs& logprobs) {
  for (const quire::v1::PositionLogprobs& position : logprobs.positions()) {
    std::string line =
        position.sampled().has_logprob() ? absl::StrFormat("%9.4f", position.sampled().logprob()) : "        -";
    absl::StrAppend(&line, "  '", Printable(position.sampled().token()), "'");
    for (const quire::v1::TokenLogprob& top : position.top()) {
      absl::StrAppendFormat(&line, "  %.4f '%s'", top.logprob(), Printable(top.token()));
    }
    std::cerr << line << "\n";
  }
}

// Writes the responses of one call as they come and remembers what --stats tells.
class Printer {
 public:
  Printer() : start_(absl::Now()) {}

  void Take(const GenerateResponse& response) {
    if (response.has_chunk()) {
      Note(response.chunk().token_ids_size() > 0);
    } else {
      completes_.push_back(response.complete());
    }
    if (absl::GetFlag(FLAGS_json)) return PrintJson(response);
    if (response.has_chunk()) {
      TakeChunk(response.chunk());
    } else {
      TakeComplete(response.complete());
    }
  }

  // The text's last line ends, so that a prompt or an error starts on a line of its own.
  void End() {
    if (mid_line_) std::cout << std::endl;
    mid_line_ = false;
  }

  void PrintStats() const;

 private:
  bool labelled() const { return absl::GetFlag(FLAGS_n) > 1; }

  void Note(bool has_tokens) {
    if (!has_tokens) return;
    last_token_ = absl::Now();
    if (first_token_ == absl::InfiniteFuture()) first_token_ = last_token_;
  }

  void Write(const std::string& text) {
    std::cout << text << std::flush;
    if (!text.empty()) mid_line_ = text.back() != '\n';
  }

  // Several choices come interleaved: each is kept until it is whole.
  void TakeChunk(const GenerateResponse::Chunk& chunk) {
    if (chunk.has_input_logprobs()) PrintLogprobs(chunk.input_logprobs());
    if (chunk.has_output_logprobs()) PrintLogprobs(chunk.output_logprobs());
    if (!labelled()) return Write(chunk.text());
    if (texts_.size() <= chunk.index()) texts_.resize(chunk.index() + 1);
    texts_[chunk.index()] += chunk.text();
  }

  void TakeComplete(const GenerateResponse::Complete& complete) {
    if (complete.has_input_logprobs()) PrintLogprobs(complete.input_logprobs());
    if (complete.has_output_logprobs()) PrintLogprobs(complete.output_logprobs());
    if (!labelled()) return Write(complete.text());
    std::string text = complete.index() < texts_.size() ? texts_[complete.index()] : "";
    Write(absl::StrCat("[", complete.index(), "] ", text, complete.text()));
    End();
  }

  const absl::Time start_;
  absl::Time first_token_ = absl::InfiniteFuture();
  absl::Time last_token_ = absl::InfinitePast();
  bool mid_line_ = false;
  std::vector<std::string> texts_;  // by choice
  std::vector<GenerateResponse::Complete> completes_;
};

void Printer::PrintStats() const {
  if (completes_.empty()) return;
  uint32_t most = 0;
  for (const GenerateResponse::Complete& c : completes_) {
    most = std::max(most, c.completion_tokens());
    std::string stop;
    if (c.has_matched_stop_token_id()) stop = absl::StrCat(" at token ", c.matched_stop_token_id());
    if (c.has_matched_stop_str()) stop = absl::StrCat(" at '", Printable(c.matched_stop_str()), "'");
    std::cerr << "choice " << c.index() << ": " << c.prompt_tokens() << " prompt + " << c.completion_tokens()
              << " output tokens, finished: " << c.finish_reason() << stop << ", seed " << c.seed() << "\n";
  }
  std::string line;
  if (first_token_ != absl::InfiniteFuture()) {
    absl::StrAppendFormat(&line, "TTFT %.1f ms", absl::ToDoubleMilliseconds(first_token_ - start_));
    if (most > 1) {
      const double tpot = absl::ToDoubleMilliseconds(last_token_ - first_token_) / (most - 1);
      absl::StrAppendFormat(&line, ", TPOT %.2f ms (%.1f tok/s)", tpot, 1000 / tpot);
    }
    line += ", ";
  }
  const quire::v1::Timing& timing = completes_[0].timing();
  absl::StrAppendFormat(&line, "in the server: queue %.1f ms, prefill %.1f ms, decode %.1f ms",
                        timing.queue_seconds() * 1e3, timing.prefill_seconds() * 1e3, timing.decode_seconds() * 1e3);
  std::cerr << line << "\n";
}

void PrintLoads(quire::v1::Generator::Stub* stub) {
  grpc::ClientContext context;
  AddKey(&context);
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(2)));
  quire::v1::GetLoadsResponse loads;
  if (!stub->GetLoads(&context, quire::v1::GetLoadsRequest(), &loads).ok()) return;
  std::cerr << "blocks used:";
  for (const auto& rank : loads.ranks()) {
    std::cerr << " rank " << rank.rank() << " " << rank.device_blocks_used() << "/" << rank.device_blocks_total();
  }
  std::cerr << "\n";
}

const char* CodeName(grpc::StatusCode code) {
  static constexpr const char* kNames[] = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED"};
  const auto number = static_cast<size_t>(code);
  return number < std::size(kNames) ? kNames[number] : "UNKNOWN";
}

void PrintError(const grpc::Status& status, const grpc::ClientContext& context) {
  std::cerr << "generate: " << CodeName(status.error_code());
  const auto& trailers = context.GetServerTrailingMetadata();
  if (const auto it = trailers.find("error-param"); it != trailers.end()) {
    std::cerr << " (" << std::string(it->second.data(), it->second.size()) << ")";
  }
  std::cerr << ": " << status.error_message() << "\n";
}

// Cancels `context` at Ctrl-C or SIGTERM. Requires: the signals are blocked in every thread. Detached: it lives as
// long as the process.
void CancelAtSignal(const sigset_t& signals, grpc::ClientContext* context, std::atomic<bool>* interrupted) {
  std::thread([signals, context, interrupted] {
    int signal = 0;
    sigwait(&signals, &signal);
    interrupted->store(true);
    context->TryCancel();
    sigwait(&signals, &signal);  // a second time: at once
    _exit(kExitInterrupted);
  }).detach();
}

int Run(const GenerateRequest& request, const sigset_t& signals) {
  const std::string server = absl::GetFlag(FLAGS_server);
  auto stub = quire::v1::Generator::NewStub(Connect(server));
  // Never freed: the signal thread may hold it to the end.
  auto* context = new grpc::ClientContext;
  AddKey(context);
  auto* interrupted = new std::atomic<bool>(false);
  if (absl::GetFlag(FLAGS_timeout) != absl::InfiniteDuration()) {
    context->set_deadline(absl::ToChronoTime(absl::Now() + absl::GetFlag(FLAGS_timeout)));
  }
  CancelAtSignal(signals, context, interrupted);
  Printer printer;
  auto reader = stub->Generate(context, request);
  GenerateResponse response;
  while (reader->Read(&response)) {
    printer.Take(response);
    if (!std::cout) context->TryCancel();  // nobody reads our output any more
  }
  const grpc::Status status = reader->Finish();
  printer.End();
  if (interrupted->load()) {
    std::cerr << "generate: interrupted\n";
    return kExitInterrupted;
  }
  if (!status.ok()) {
    PrintError(status, *context);
    if (status.error_code() == grpc::StatusCode::UNAVAILABLE)
      std::cerr << "generate: is a coordinator at " << server << "?\n";
    return kExitFailed;
  }
  if (absl::GetFlag(FLAGS_stats)) {
    printer.PrintStats();
    PrintLoads(stub.get());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  absl::SetProgramUsageMessage(
      "Streams a continuation of a prompt from a Quire server.\n\n  generate [flags] [prompt...]");
  const std::vector<std::string> stops = TakeStopStrings(&argc, argv);
  const std::vector<char*> args = absl::ParseCommandLine(argc, argv);
  const std::string prompt = ReadPrompt(args);
  const int exit_code = Run(MakeRequest(prompt, stops), signals);
  std::cout.flush();
  // Without static destructors: the signal thread is still there.
  _exit(std::cout.good() || exit_code != 0 ? exit_code : kExitFailed);
}
