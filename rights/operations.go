package rights

var operations = []operation{
	{"read", []Need{{"fd", Of(Read), ""}}},
}
