#include "coordinator/openai/constraint.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace quire::openai {
namespace {

class Reader {
 public:
  Reader(Call* call, v1::SamplingParams* out) : call_(call), out_(out) {}

  // {"type": "text" | "json_object" | "json_schema" | "structural_tag", ...}
  void ResponseFormat(Fields* fields) {
    const Json* format = fields->Object("response_format");
    if (format == nullptr) return;
    Fields members(*format, fields->Path("response_format."), fields->mutable_status());
    const std::string* type = members.String("type");
    if (type == nullptr) {
      members.Fail("type", "is required.");
    } else if (*type == "json_object") {
      if (Take(fields, "response_format")) out_->set_json_object(true);
    } else if (*type == "json_schema") {
      const Json* named = members.Object("json_schema");
      const Json* schema = named == nullptr ? nullptr : Schema(*named, &members);
      if (schema == nullptr) {
        members.Fail("json_schema", R"(must be {"name": ..., "schema": {...}}.)");
      } else if (Take(fields, "response_format")) {
        out_->set_json_schema(schema->dump());
      }
    } else if (*type == "structural_tag") {
      if (Take(fields, "response_format")) out_->set_structural_tag(format->dump());
    } else if (*type != "text") {
      members.Fail("type", "must be 'text', 'json_object', 'json_schema' or 'structural_tag'.");
    }
  }

  // vLLM's: members json, json_object, regex, choice, grammar, structural_tag.
  void StructuredOutputs(Fields* fields) {
    const Json* wanted = fields->Object("structured_outputs");
    if (wanted == nullptr) return;
    Fields members(*wanted, fields->Path("structured_outputs."), fields->mutable_status());
    constexpr char kName[] = "structured_outputs";
    if (members.Bool("json_object").value_or(false) && Take(fields, kName)) out_->set_json_object(true);
    if (const Json* schema = members.Find("json"); schema != nullptr && Take(fields, kName)) SetSchema(*schema);
    ReadText(&members, "regex", fields, kName, &v1::SamplingParams::set_regex);
    ReadText(&members, "grammar", fields, kName, &v1::SamplingParams::set_grammar);
    ReadText(&members, "structural_tag", fields, kName, &v1::SamplingParams::set_structural_tag);
    ReadChoice(&members, "choice", fields, kName);
  }

  void Guided(Fields* fields) {
    if (const Json* schema = fields->Find("guided_json"); schema != nullptr && Take(fields, "guided_json")) {
      SetSchema(*schema);
    }
    ReadText(fields, "guided_regex", fields, "guided_regex", &v1::SamplingParams::set_regex);
    ReadText(fields, "guided_grammar", fields, "guided_grammar", &v1::SamplingParams::set_grammar);
    ReadChoice(fields, "guided_choice", fields, "guided_choice");
  }

 private:
  using SetText = void (v1::SamplingParams::*)(const std::string&);

  // Whether this is the first constraint. `name` is the field at top level.
  bool Take(Fields* fields, const char* name) {
    if (out_->constraint_case() == v1::SamplingParams::CONSTRAINT_NOT_SET) {
      call_->names.constraint = name;
      return fields->ok();
    }
    fields->Fail(name, absl::StrCat("cannot go with another constraint (", call_->names.constraint, ")."));
    return false;
  }

  const Json* Schema(const Json& named, Fields* members) {
    return Fields(named, members->Path("json_schema."), members->mutable_status()).Object("schema");
  }

  // A schema as JSON, or as a text that holds it.
  void SetSchema(const Json& schema) {
    out_->set_json_schema(schema.is_string() ? schema.get_ref<const std::string&>() : schema.dump());
  }

  void ReadText(Fields* from, const char* member, Fields* fields, const char* name, SetText set) {
    const std::string* text = from->String(member);
    if (text != nullptr && Take(fields, name)) (out_->*set)(*text);
  }

  void ReadChoice(Fields* from, const char* member, Fields* fields, const char* name) {
    if (from->Find(member) == nullptr) return;
    std::vector<std::string> choices = from->Strings(member);
    if (!Take(fields, name)) return;
    v1::Choice* choice = out_->mutable_choice();
    for (std::string& text : choices) choice->add_choices(std::move(text));
  }

  Call* const call_;
  v1::SamplingParams* const out_;
};

}  // namespace

void ReadConstraint(Fields* fields, Call* call, v1::SamplingParams* out) {
  Reader reader(call, out);
  reader.ResponseFormat(fields);
  reader.StructuredOutputs(fields);
  reader.Guided(fields);
}

}  // namespace quire::openai
