#include "worker/device_choice.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace quire::worker {

absl::StatusOr<DeviceChoice> ParseDevice(absl::string_view text) {
  constexpr int kIndexMax = 1023;
  DeviceChoice choice;
  if (text == "cpu") return choice;
  choice.cuda = true;
  if (text == "auto") return choice;
  choice.cpu = false;
  if (text == "cuda") return choice;
  absl::string_view number = text;
  const bool plain_number = absl::ConsumePrefix(&number, "cuda:") && !number.empty() &&
                            number.find_first_not_of("0123456789") == absl::string_view::npos;
  if (plain_number && absl::SimpleAtoi(number, &choice.index) && choice.index <= kIndexMax) return choice;
  return absl::InvalidArgumentError(absl::StrCat("--device=", text, " is not one of cpu, cuda, cuda:N, auto"));
}

}  // namespace quire::worker
