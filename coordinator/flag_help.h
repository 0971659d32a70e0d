// --help of the coordinator: its flags by what they are about. Main thread only, before anything else starts.
#ifndef QUIRE_COORDINATOR_FLAG_HELP_H_
#define QUIRE_COORDINATOR_FLAG_HELP_H_

#include <string>
#include <vector>

namespace quire {

// Takes "--help" out of the words of a command line; false if it is not among them. Words after "--" are no flags.
bool TakeHelp(std::vector<char*>* words);

// All flags of this program under `usage`, in groups; a flag that no group names comes under "other".
std::string GroupedHelp(const std::string& usage);

}  // namespace quire

#endif  // QUIRE_COORDINATOR_FLAG_HELP_H_
