#include "worker/loader/pickle_machine.h"

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "worker/loader/bounded_json.h"

namespace quire::worker {
namespace {

using Kind = PickleKind;

enum Opcode : uint8_t {
  kMark = '(',
  kStop = '.',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kEmptyList = ']',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kEmptyTuple = ')',
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

// Opcodes that pickles of other things have, for the message.
const char* NameOfRefused(uint8_t opcode) {
  static constexpr struct {
    uint8_t opcode;
    const char* name;
  } kRefused[] = {
      {'i', "INST"},      {'o', "OBJ"},        {0x81, "NEWOBJ"},        {0x92, "NEWOBJ_EX"}, {0x82, "EXT1"},
      {0x83, "EXT2"},     {0x84, "EXT4"},      {'P', "PERSID"},         {'0', "POP"},        {'1', "POP_MARK"},
      {'2', "DUP"},       {'I', "INT"},        {'L', "LONG"},           {'F', "FLOAT"},      {'S', "STRING"},
      {'V', "UNICODE"},   {'d', "DICT"},       {'l', "LIST"},           {'g', "GET"},        {'p', "PUT"},
      {0x8b, "LONG4"},    {'B', "BINBYTES"},   {'C', "SHORT_BINBYTES"}, {0x8e, "BINBYTES8"}, {0x8f, "EMPTY_SET"},
      {0x90, "ADDITEMS"}, {0x91, "FROZENSET"}, {0x96, "BYTEARRAY8"}};
  for (const auto& refused : kRefused) {
    if (refused.opcode == opcode) return refused.name;
  }
  return "unknown";
}

// Index of a value; containers hold such, so that no chain of values is ever freed or walked recursively.
using Id = int32_t;

class Machine {
 public:
  Machine(absl::string_view file, absl::string_view bytes, absl::Span<const PickleName> names)
      : file_(file), bytes_(bytes), names_(names) {}

  absl::StatusOr<Pickle> Run();

 private:
  // These return false after a complaint. *handled stays true where the opcode is one of theirs.
  bool Step(uint8_t opcode, bool* handled);
  bool StepConstant(uint8_t opcode, bool* handled);
  bool StepMemo(uint8_t opcode, bool* handled);
  bool StepContainer(uint8_t opcode, bool* handled);
  bool StepCall(uint8_t opcode, bool* handled);

  bool Take(int64_t count, absl::string_view* out);
  bool TakeNumber(int num_bytes, uint64_t* out);
  bool TakeLine(absl::string_view* out);
  bool TakeLong();
  bool PushText(int length_bytes);
  bool Push(PickleValue value);
  bool PushId(Id id);
  bool PushInt(int64_t number);
  bool PushKind(PickleKind kind, std::vector<Id> items);
  bool PushName(absl::string_view module, absl::string_view name);
  bool Pop(Id* out);
  bool PopMark(std::vector<Id>* out);  // the values above the last mark, in order
  bool PushTuple(int count);
  bool AddItems(Id container, PickleKind kind, const std::vector<Id>& items);
  bool Call();
  bool Build();

  bool Bad(absl::string_view what) { return Fail(absl::InvalidArgumentError(Where(what))); }
  bool Refuse(absl::string_view what) { return Fail(absl::UnimplementedError(Where(what))); }
  std::string Where(absl::string_view what) const {
    return absl::StrCat(file_, ": pickle, byte ", opcode_at_, ": ", what);
  }
  bool Fail(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
    return false;
  }

  const absl::string_view file_, bytes_;
  const absl::Span<const PickleName> names_;
  size_t at_ = 0, opcode_at_ = 0;
  absl::Status status_;
  std::vector<PickleValue> values_;
  std::vector<Id> stack_;
  std::vector<Id> memo_;
  int64_t num_items_ = 0;  // in all containers
};

bool Machine::Take(int64_t count, absl::string_view* out) {
  if (count < 0 || count > static_cast<int64_t>(bytes_.size() - at_)) {
    return Bad(absl::StrCat("truncated: ", count, " bytes are needed, ", bytes_.size() - at_, " are left"));
  }
  *out = bytes_.substr(at_, count);
  at_ += count;
  return true;
}

bool Machine::TakeNumber(int num_bytes, uint64_t* out) {
  absl::string_view raw;
  if (!Take(num_bytes, &raw)) return false;
  *out = 0;
  std::memcpy(out, raw.data(), num_bytes);  // little-endian, as every machine that we run on
  return true;
}

bool Machine::TakeLine(absl::string_view* out) {
  constexpr size_t kLineMax = 256;
  const size_t end = bytes_.substr(at_, kLineMax).find('\n');
  if (end == absl::string_view::npos) return Bad(absl::StrCat("a line without an end within ", kLineMax, " bytes"));
  *out = bytes_.substr(at_, end);
  at_ += end + 1;
  return true;
}

// A little-endian two's complement number of as many bytes as its length byte says.
bool Machine::TakeLong() {
  uint64_t length = 0, number = 0;
  if (!TakeNumber(1, &length)) return false;
  if (length > 8) return Bad(absl::StrCat("an integer of ", length, " bytes is out of range"));
  if (!TakeNumber(static_cast<int>(length), &number)) return false;
  if (length > 0 && length < 8 && (number >> (8 * length - 1)) != 0) number |= ~uint64_t{0} << (8 * length);
  return PushInt(static_cast<int64_t>(number));
}

bool Machine::PushText(int length_bytes) {
  uint64_t length = 0;
  PickleValue value;
  value.kind = Kind::kText;
  if (!TakeNumber(length_bytes, &length)) return false;
  if (length > static_cast<uint64_t>(kPickleBytesMax)) return Bad(absl::StrCat("a text of ", length, " bytes"));
  return Take(length, &value.text) && Push(std::move(value));
}

bool Machine::Push(PickleValue value) {
  if (static_cast<int64_t>(values_.size()) >= kPickleValuesMax) {
    return Bad(absl::StrCat("more than ", kPickleValuesMax, " values"));
  }
  values_.push_back(std::move(value));
  return PushId(static_cast<Id>(values_.size() - 1));
}

bool Machine::PushId(Id id) {
  if (static_cast<int64_t>(stack_.size()) >= kPickleValuesMax) {
    return Bad(absl::StrCat("a stack of more than ", kPickleValuesMax, " values"));
  }
  stack_.push_back(id);
  return true;
}

bool Machine::PushInt(int64_t number) {
  PickleValue value;
  value.kind = Kind::kInt;
  value.number = number;
  return Push(std::move(value));
}

bool Machine::Pop(Id* out) {
  if (stack_.empty()) return Bad("the stack is empty");
  *out = stack_.back();
  stack_.pop_back();
  if (values_[*out].kind == Kind::kMark) return Bad("a mark where a value must be");
  return true;
}

bool Machine::PopMark(std::vector<Id>* out) {
  size_t mark = stack_.size();
  while (mark > 0 && values_[stack_[mark - 1]].kind != Kind::kMark) --mark;
  if (mark == 0) return Bad("no mark on the stack");
  out->assign(stack_.begin() + mark, stack_.end());
  stack_.resize(mark - 1);
  return true;
}

bool Machine::PushKind(PickleKind kind, std::vector<Id> items) {
  num_items_ += items.size();
  if (num_items_ > kPickleValuesMax) return Bad(absl::StrCat("more than ", kPickleValuesMax, " items"));
  PickleValue value;
  value.kind = kind;
  value.items = std::move(items);
  return Push(std::move(value));
}

bool Machine::PushTuple(int count) {
  std::vector<Id> items(count);
  for (int i = count - 1; i >= 0; --i) {
    if (!Pop(&items[i])) return false;
  }
  return PushKind(Kind::kTuple, std::move(items));
}

bool Machine::AddItems(Id container, PickleKind kind, const std::vector<Id>& items) {
  if (values_[container].kind != kind) {
    return Bad(absl::StrCat("items for ", DescribePickleKind(values_[container].kind), ", not for ",
                            DescribePickleKind(kind)));
  }
  num_items_ += items.size();
  if (num_items_ > kPickleValuesMax) return Bad(absl::StrCat("more than ", kPickleValuesMax, " items"));
  auto& all = values_[container].items;
  all.insert(all.end(), items.begin(), items.end());
  return true;
}

bool Machine::StepConstant(uint8_t opcode, bool* handled) {
  uint64_t raw = 0;
  PickleValue value;
  absl::string_view skipped;
  switch (opcode) {
    case kProto:
      if (!TakeNumber(1, &raw)) return false;
      return raw >= 2 && raw <= 5 ? true : Refuse(absl::StrCat("protocol ", raw, " is not 2 to 5"));
    case kFrame:
      return Take(8, &skipped);  // only how far to read ahead
    case kNone:
      return Push(std::move(value));
    case kNewTrue:
    case kNewFalse:
      value.kind = Kind::kBool;
      value.number = opcode == kNewTrue;
      return Push(std::move(value));
    case kBinInt:
      return TakeNumber(4, &raw) && PushInt(static_cast<int32_t>(raw));
    case kBinInt1:
      return TakeNumber(1, &raw) && PushInt(raw);
    case kBinInt2:
      return TakeNumber(2, &raw) && PushInt(raw);
    case kLong1:
      return TakeLong();
    case kBinFloat:
      value.kind = Kind::kFloat;
      return Take(8, &skipped) && Push(std::move(value));
    case kShortBinString:
    case kShortBinUnicode:
      return PushText(1);
    case kBinString:
    case kBinUnicode:
      return PushText(4);
    case kBinUnicode8:
      return PushText(8);
    default:
      *handled = false;
      return true;
  }
}

bool Machine::StepMemo(uint8_t opcode, bool* handled) {
  uint64_t index = memo_.size();
  const bool is_get = opcode == kBinGet || opcode == kLongBinGet;
  if (!is_get && opcode != kBinPut && opcode != kLongBinPut && opcode != kMemoize) {
    *handled = false;
    return true;
  }
  if (opcode != kMemoize && !TakeNumber(opcode == kBinGet || opcode == kBinPut ? 1 : 4, &index)) return false;
  if (index >= static_cast<uint64_t>(kPickleValuesMax)) return Bad(absl::StrCat("memo ", index, " is out of range"));
  if (is_get) {
    if (index >= memo_.size() || memo_[index] < 0) return Bad(absl::StrCat("memo ", index, " is not set"));
    return PushId(memo_[index]);
  }
  Id top;
  if (!Pop(&top)) return false;
  if (index >= memo_.size()) memo_.resize(index + 1, -1);
  memo_[index] = top;
  return PushId(top);
}

bool Machine::StepContainer(uint8_t opcode, bool* handled) {
  std::vector<Id> items;
  switch (opcode) {
    case kMark:
      return PushKind(Kind::kMark, {});
    case kEmptyTuple:
      return PushKind(Kind::kTuple, {});
    case kEmptyList:
      return PushKind(Kind::kList, {});
    case kEmptyDict:
      return PushKind(Kind::kDict, {});
    case kTuple1:
    case kTuple2:
    case kTuple3:
      return PushTuple(opcode - kTuple1 + 1);
    case kTuple:
      return PopMark(&items) && PushKind(Kind::kTuple, std::move(items));
    case kAppend:
      items.resize(1);
      if (!Pop(&items[0])) return false;
      break;
    case kAppends:
      if (!PopMark(&items)) return false;
      break;
    case kSetItem:
      items.resize(2);
      if (!Pop(&items[1]) || !Pop(&items[0])) return false;
      break;
    case kSetItems:
      if (!PopMark(&items)) return false;
      if (items.size() % 2 != 0) return Bad("a key without a value");
      break;
    default:
      *handled = false;
      return true;
  }
  if (stack_.empty()) return Bad("the stack is empty");
  return AddItems(stack_.back(), opcode == kAppend || opcode == kAppends ? Kind::kList : Kind::kDict, items);
}

bool Machine::PushName(absl::string_view module, absl::string_view name) {
  PickleValue value;
  value.kind = Kind::kName;
  for (const PickleName& known : names_) {
    if (module != known.module || name != known.name) continue;
    value.name = &known;
    return Push(std::move(value));
  }
  return Refuse(absl::StrCat("'", Printable(module), ".", Printable(name),
                             "' is not among the names that a file of weights may use; nothing of it was run"));
}

bool Machine::StepCall(uint8_t opcode, bool* handled) {
  absl::string_view module, name;
  Id id, module_id;
  switch (opcode) {
    case kGlobal:
      return TakeLine(&module) && TakeLine(&name) && PushName(module, name);
    case kStackGlobal:
      if (!Pop(&id) || !Pop(&module_id)) return false;
      if (values_[id].kind != Kind::kText || values_[module_id].kind != Kind::kText) {
        return Bad("STACK_GLOBAL of what is no text");
      }
      return PushName(values_[module_id].text, values_[id].text);
    case kBinPersId:
      return Pop(&id) && PushKind(Kind::kPersistent, {id});
    case kReduce:
      return Call();
    case kBuild:
      return Build();
    default:
      *handled = false;
      return true;
  }
}

bool Machine::Call() {
  Id arguments, function;
  if (!Pop(&arguments) || !Pop(&function)) return false;
  if (values_[function].kind != Kind::kName || values_[arguments].kind != Kind::kTuple) {
    return Bad(absl::StrCat("a call of ", DescribePickleKind(values_[function].kind), " with ",
                            DescribePickleKind(values_[arguments].kind)));
  }
  const PickleName& name = *values_[function].name;
  if (name.makes_dict) {
    if (values_[arguments].items.empty()) return PushKind(Kind::kDict, {});
    return Refuse(absl::StrCat("a call of '", name.module, ".", name.name, "' with arguments"));
  }
  if (!PushKind(Kind::kCall, {arguments})) return false;
  values_[stack_.back()].name = &name;
  return true;
}

// Attributes of a dict (a state dict's _metadata) are of no consequence.
bool Machine::Build() {
  Id state;
  if (!Pop(&state)) return false;
  if (!stack_.empty() && values_[stack_.back()].kind == Kind::kDict && values_[state].kind == Kind::kDict) return true;
  return Refuse("opcode BUILD on anything but a dict");
}

bool Machine::Step(uint8_t opcode, bool* handled) {
  for (const auto step : {&Machine::StepConstant, &Machine::StepMemo, &Machine::StepContainer, &Machine::StepCall}) {
    *handled = true;
    if (!(this->*step)(opcode, handled)) return false;
    if (*handled) return true;
  }
  return true;
}

absl::StatusOr<Pickle> Machine::Run() {
  if (static_cast<int64_t>(bytes_.size()) > kPickleBytesMax) {
    Bad(absl::StrCat(bytes_.size(), " bytes are more than the limit of ", kPickleBytesMax));
  }
  Pickle pickle;
  while (status_.ok()) {
    opcode_at_ = at_;
    uint64_t opcode = 0;
    if (!TakeNumber(1, &opcode)) break;
    if (opcode == kStop) {
      if (!Pop(&pickle.result)) break;
      pickle.values = std::move(values_);
      return pickle;
    }
    bool handled = false;
    if (Step(static_cast<uint8_t>(opcode), &handled) && !handled) {
      Refuse(absl::StrCat("opcode ", NameOfRefused(opcode), " (", absl::StrFormat("0x%02x", opcode),
                          ") is not among those that a file of weights may use"));
    }
  }
  return status_;
}

}  // namespace

const char* DescribePickleKind(PickleKind kind) {
  static constexpr const char* kNames[] = {"a mark",
                                           "None",
                                           "a flag",
                                           "an int",
                                           "a float",
                                           "a text",
                                           "a tuple",
                                           "a list",
                                           "a dict",
                                           "a name",
                                           "the value of a call",
                                           "a storage"};
  return kNames[static_cast<int>(kind)];
}

absl::StatusOr<Pickle> RunPickle(absl::string_view file, absl::string_view bytes, absl::Span<const PickleName> names) {
  return Machine(file, bytes, names).Run();
}

}  // namespace quire::worker
