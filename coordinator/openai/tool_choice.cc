#include "coordinator/openai/tool_choice.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace quire::openai {
namespace {

struct Tool {
  std::string name;
  Json parameters;
};

// Those that have the form of one; validation refuses the others by name.
std::vector<Tool> ReadTools(const Json* tools) {
  std::vector<Tool> out;
  for (size_t i = 0; tools != nullptr && i < tools->size(); ++i) {
    const Json& tool = (*tools)[i];
    const auto function = tool.is_object() ? tool.find("function") : tool.end();
    if (function == tool.end() || !function->is_object()) continue;
    const auto name = function->find("name");
    if (name == function->end() || !name->is_string()) continue;
    const auto parameters = function->find("parameters");
    const bool has = parameters != function->end() && parameters->is_object() && !parameters->empty();
    out.push_back({name->get<std::string>(), has ? *parameters : Json{{"type", "object"}}});
  }
  return out;
}

// The tool's name of {"type": "function", "function": {"name": ...}}; empty: it has another form.
std::string NameOf(const Json& choice) {
  const auto function = choice.is_object() ? choice.find("function") : choice.end();
  if (function == choice.end() || !function->is_object()) return "";
  const auto name = function->find("name");
  return name != function->end() && name->is_string() ? name->get<std::string>() : "";
}

// A list of at least one call. Definitions move to the top, where "#/$defs/..." looks for them; of two with one name the
// first counts.
Json CallsSchema(std::vector<Tool> tools, bool parallel) {
  Json definitions = Json::object();
  Json calls = Json::array();
  for (Tool& tool : tools) {
    if (const auto own = tool.parameters.find("$defs"); own != tool.parameters.end() && own->is_object()) {
      for (const auto& [name, schema] : own->get_ref<const Json::object_t&>()) {
        // A look through all of them each time: not without end.
        if (definitions.size() < kListMax && !definitions.contains(name)) definitions[name] = schema;
      }
      tool.parameters.erase("$defs");
    }
    calls.push_back({{"type", "object"},
                     {"properties",
                      {{"name", {{"type", "string"}, {"enum", Json::array({tool.name})}}},
                       {"parameters", std::move(tool.parameters)}}},
                     {"required", Json::array({"name", "parameters"})}});
  }
  Json schema = {{"type", "array"}, {"minItems", 1}, {"items", {{"anyOf", std::move(calls)}}}};
  if (!parallel) schema["maxItems"] = 1;
  if (!definitions.empty()) schema["$defs"] = std::move(definitions);
  return schema;
}

}  // namespace

void ReadToolChoice(Fields* fields, Call* call, v1::SamplingParams* out) {
  constexpr char kField[] = "tool_choice";
  call->answer.parallel_tool_calls = fields->Bool("parallel_tool_calls").value_or(true);
  const Json* choice = fields->Find(kField);
  const Json* offered = fields->Array("tools");
  const bool has_tools = offered != nullptr && !offered->empty();
  const std::string word = choice == nullptr ? "auto" : choice->is_string() ? choice->get<std::string>() : "";
  if (word == "none") return;
  if (word == "auto") {
    if (has_tools) call->answer.tool_output = ToolOutput::kTagged;
    return;
  }
  std::vector<Tool> tools = ReadTools(offered);
  Json schema;
  if (word == "required") {
    if (!tools.empty()) schema = CallsSchema(std::move(tools), call->answer.parallel_tool_calls);
    call->answer.tool_output = ToolOutput::kList;
  } else {
    const std::string name = NameOf(*choice);
    if (name.empty()) {
      fields->Fail(kField, R"(must be "auto", "none", "required" or {"type": "function", "function": {"name": ...}}.)");
      return;
    }
    for (Tool& tool : tools) {
      if (tool.name == name && schema.is_null()) schema = std::move(tool.parameters);
    }
    call->answer.tool_output = ToolOutput::kArguments;
    call->answer.tool_name = name;
  }
  if (schema.is_null()) {
    fields->Fail(kField, "names no tool that is offered in tools.");
  } else if (out->constraint_case() != v1::SamplingParams::CONSTRAINT_NOT_SET) {
    fields->Fail(kField, absl::StrCat("cannot go with another constraint (", call->names.constraint, ")."));
  } else {
    call->names.constraint = kField;
    out->set_json_schema(schema.dump());
  }
}

}  // namespace quire::openai
