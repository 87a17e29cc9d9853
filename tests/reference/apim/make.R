# Actor-partner interdependence model: reference figures by lavaan and nlme. Run in this folder: Rscript make.R
suppressMessages({library(lavaan); library(nlme); library(jsonlite)})
set.seed(7)
simulate <- function(K, sizes) {
  n <- sample(sizes, K, TRUE); cl <- rep(seq_len(K), n); N <- length(cl)
  style <- rnorm(K)[cl]; seen <- .5 * rnorm(K)[cl]
  AP <- 70 + 12 * (seen + rnorm(N)); AC <- 65 + 10 * (style + .3 * (AP - 70) / 12 + .6 * rnorm(N))
  uP <- 3 * rnorm(K)[cl]; uC <- .4 * uP + 4 * rnorm(K)[cl]; eP <- 8 * rnorm(N); eC <- .25 * eP + 6 * rnorm(N)
  BP <- 20 + .60 * AP + .15 * AC + uP + eP; BC <- 15 + .70 * AC + .05 * AP + uC + eC
  data.frame(cl = sprintf("C%02d", cl), dy = sprintf("D%03d", seq_len(N)), AP, AC, BP, BC)
}
d <- simulate(40, 5:12)
d[3:6] <- round(d[3:6], 4)
write.csv(d, "apim.csv", row.names = FALSE, quote = FALSE)
d <- read.csv("apim.csv")

free <- "BP ~ aP*AP + pCP*AC\n BC ~ aC*AC + pPC*AP\n BP ~~ BC\n kP := pCP/aP\n kC := pPC/aC"
fit <- sem(free, d, meanstructure = TRUE)
p <- parameterEstimates(fit, standardized = TRUE)
rows <- p[p$op %in% c("~", "~~", "~1", ":=") , c("lhs", "op", "rhs", "est", "se", "z", "pvalue", "ci.lower", "ci.upper", "std.all")]
constrained <- function(extra) {
  g <- sem(paste(free, extra, sep = "\n"), d, meanstructure = TRUE)
  m <- fitMeasures(g, c("chisq", "df", "pvalue")); list(chisq = m[["chisq"]], df = m[["df"]], p = m[["pvalue"]],
    est = unname(coef(g)[c("aP", "pCP", "aC", "pPC")]))
}
isat <- sem("AP ~~ vA*AP\n AC ~~ vA*AC\n BP ~~ vB*BP\n BC ~~ vB*BC\n AP ~~ intra*BP\n AC ~~ intra*BC\n AP ~~ inter*BC\n AC ~~ inter*BP
 AP ~~ AC\n BP ~~ BC\n AP ~ mA*1\n AC ~ mA*1\n BP ~ mB*1\n BC ~ mB*1", d, meanstructure = TRUE)
im <- fitMeasures(isat, c("chisq", "df", "pvalue", "logl", "unrestricted.logl"))

long <- rbind(data.frame(d[c("cl", "dy", "AP", "AC")], role = "P", y = d$BP), data.frame(d[c("cl", "dy", "AP", "AC")], role = "C", y = d$BC))
long$role <- factor(long$role, c("P", "C")); long <- long[order(long$cl, long$dy, long$role), ]
mixed <- function(fixed, long) {
  m <- lme(fixed, data = long, random = ~ 0 + role | cl, correlation = corSymm(form = ~ 1 | cl/dy), weights = varIdent(form = ~ 1 | role),
           method = "REML", control = lmeControl(maxIter = 200, msMaxIter = 400, tolerance = 1e-10, msTol = 1e-12, opt = "optim", reltol = 1e-14))
  B <- matrix(as.numeric(getVarCov(m)), 2); s <- m$sigma * c(P = 1, C = unname(coef(m$modelStruct$varStruct, unconstrained = FALSE, allCoef = TRUE)["C"]))
  if (is.na(s["C"])) s["C"] <- m$sigma * coef(m$modelStruct$varStruct, unconstrained = FALSE)
  r <- coef(m$modelStruct$corStruct, unconstrained = FALSE)
  list(fixed = as.list(fixef(m)), se = as.list(sqrt(diag(vcov(m)))), B = unname(B), W = unname(outer(s, s) * matrix(c(1, r, r, 1), 2)),
       logLik = as.numeric(logLik(m)))
}
long$mAC <- ave(long$AC, long$cl); long$wAC <- long$AC - long$mAC
out <- list(versions = list(R = as.character(getRversion()), lavaan = as.character(packageVersion("lavaan")), nlme = as.character(packageVersion("nlme"))),
  ml = rows, logl = as.numeric(logLik(fit)), aic = AIC(fit), bic = BIC(fit),
  equal = list(actor = constrained("aP == aC"), partner = constrained("pCP == pPC"), both = constrained("aP == aC\npCP == pPC")),
  isat = as.list(im),
  mixed = mixed(y ~ 0 + role + role:AP + role:AC, long), split = mixed(y ~ 0 + role + role:AP + role:wAC + role:mAC, long))
write_json(out, "apim.json", digits = 10, auto_unbox = TRUE, matrix = "rowmajor")
