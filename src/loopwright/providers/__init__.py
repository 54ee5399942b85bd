"""Wire protocols to models elsewhere. A provider knows how to ask; it does not know why, who pays, or what else there is."""
