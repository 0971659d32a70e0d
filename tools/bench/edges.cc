// What the HTTP edge adds to the time to the first token: the same request over gRPC and over HTTP to one running
// server, in turns, one at a time.
//
//   edges --server=127.0.0.1:50051 --http_port=8000 --requests=500
//
// Prints p50 and p99 of both, and the difference of the medians. The server must be on this machine, without keys or
// TLS.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "coordinator/http/http_client.h"
#include "proto/generate.grpc.pb.h"

ABSL_FLAG(std::string, server, "127.0.0.1:50051", "The server's gRPC address.");
ABSL_FLAG(int32_t, http_port, 8000, "Its HTTP port, on this machine.");
ABSL_FLAG(int32_t, requests, 500, "Requests over each edge.");

namespace quire {
namespace {

constexpr int kWarmUp = 50;
constexpr uint32_t kIds[] = {3, 4, 5, 6};

// Milliseconds to the first token over gRPC; negative: failed.
double GrpcMs(v1::Generator::Stub* stub) {
  v1::GenerateRequest request;
  for (const uint32_t id : kIds) request.mutable_tokenized()->add_input_ids(id);
  request.set_stream(true);
  request.mutable_sampling_params()->set_temperature(0);
  request.mutable_sampling_params()->set_max_tokens(2);
  request.mutable_sampling_params()->set_ignore_eos(true);
  grpc::ClientContext context;
  v1::GenerateResponse response;
  const absl::Time start = absl::Now();
  auto reader = stub->Generate(&context, request);
  const bool ok = reader->Read(&response);
  const double ms = absl::ToDoubleMilliseconds(absl::Now() - start);
  while (reader->Read(&response)) {
  }
  return reader->Finish().ok() && ok ? ms : -1;
}

double HttpMs(http::HttpClient* client) {
  const std::string body = absl::StrCat(R"({"prompt":[)", kIds[0], ",", kIds[1], ",", kIds[2], ",", kIds[3],
                                        R"(],"stream":true,"temperature":0,"max_tokens":2,"ignore_eos":true})");
  const absl::Time start = absl::Now();
  if (!client->Send(http::Post("/v1/completions", body)) || !client->ReadUntil("data: ")) return -1;
  const double ms = absl::ToDoubleMilliseconds(absl::Now() - start);
  const http::Response response = client->Read();
  return response.status == 200 && response.complete ? ms : -1;
}

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
}

int Main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  const auto channel = grpc::CreateChannel(absl::GetFlag(FLAGS_server), grpc::InsecureChannelCredentials());
  const auto stub = v1::Generator::NewStub(channel);
  http::HttpClient client(absl::GetFlag(FLAGS_http_port));
  std::vector<double> grpc_ms, http_ms;
  for (int i = 0; i < kWarmUp + std::max(1, absl::GetFlag(FLAGS_requests)); ++i) {
    const double grpc = GrpcMs(stub.get());
    const double http = HttpMs(&client);
    if (grpc < 0 || http < 0) {
      std::fprintf(stderr, "a request failed over %s\n", grpc < 0 ? "gRPC" : "HTTP");
      return 1;
    }
    if (i < kWarmUp) continue;
    grpc_ms.push_back(grpc);
    http_ms.push_back(http);
  }
  std::printf("time to first token, ms   p50     p99\n");
  std::printf("gRPC                      %.3f   %.3f\n", Quantile(grpc_ms, 0.5), Quantile(grpc_ms, 0.99));
  std::printf("HTTP                      %.3f   %.3f\n", Quantile(http_ms, 0.5), Quantile(http_ms, 0.99));
  std::printf("HTTP over gRPC at p50     %+.3f\n", Quantile(http_ms, 0.5) - Quantile(grpc_ms, 0.5));
  return 0;
}

}  // namespace
}  // namespace quire

int main(int argc, char** argv) { return quire::Main(argc, argv); }
