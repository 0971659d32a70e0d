// The status page: one file that asks nobody but this server, and its Content-Security-Policy. Made of status_page.html
// by embed_page.py.
#ifndef QUIRE_COORDINATOR_HTTP_MONITOR_STATUS_PAGE_H_
#define QUIRE_COORDINATOR_HTTP_MONITOR_STATUS_PAGE_H_

namespace quire::http {

extern const char kStatusPage[];
// Names the hashes of the page's own script and style: nothing else runs, whatever gets into the page.
extern const char kStatusPagePolicy[];

}  // namespace quire::http

#endif  // QUIRE_COORDINATOR_HTTP_MONITOR_STATUS_PAGE_H_
