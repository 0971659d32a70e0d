// Prints a page with every family, for tests in other languages.
#include <cstdio>
#include <string>

#include "coordinator/metrics/testing/full_page.h"

int main() {
  const std::string page = quire::metrics::FullPage();
  return std::fwrite(page.data(), 1, page.size(), stdout) == page.size() ? 0 : 1;
}
